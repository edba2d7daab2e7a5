"""Running generated code against tests, contained: own processes, hard limits, no files, no network, no other process.

Jobs are served by isolated interpreters (`python -I -S -B`, empty environment, own session, empty temporary folder)
that run `isolated_checker.py`: each job gets two fresh processes there; see that file why the code cannot report a
success that it has not earned, and `containment.py` for the walls. What a system does not let us enforce is in
`Verdict.not_enforced`, and `missing_walls` says it beforehand. This file knows nothing of prompts and prediction texts.

It is no virtual machine: the kernel is shared. Run code of unknown origin on a machine that holds nothing you would
miss.
"""

import contextlib
import functools
import json
import logging
import os
import queue
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from esft_lightning.errors import UserError
from esft_lightning.scoring.harmless_code import HARMLESS_CODE, HARMLESS_TESTS

log = logging.getLogger(__name__)

MISSING_PACKAGE = re.compile(r"needs the package (\S+), which the sandbox does not have")
"""Matches the reason of a verdict on code, or tests, that import what is not there; the group is the package."""

CHECKER = Path(__file__).with_name("isolated_checker.py")


class SandboxError(UserError):
    """The sandbox cannot do its work on this system, or not all of it."""


def missing_packages(reasons: Sequence[str]) -> str | None:
    """A sentence on the packages that verdicts missed; None where they missed none."""
    missing = Counter(match[1] for reason in reasons if (match := MISSING_PACKAGE.search(reason)))
    if not missing:
        return None
    return (
        f"{missing.total()} of {len(reasons)} programs or their tests need packages that the sandbox does not have, "
        f"and score 0: {', '.join(f'{name} ({count})' for name, count in missing.most_common())}"
    )


@dataclass(frozen=True)
class Limits:
    """Hard limits of one job.

    Attributes:
        wall_seconds: From start to verdict, generous for busy machines; then the whole process group is killed.
        cpu_seconds: Processor time of each of the two processes (whole seconds).
        memory_bytes: Address space of each process.
        file_bytes: Longest file it may write (where the file system is closed by Landlock, it can write none).
        open_files: Open file handles.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 3
    memory_bytes: int = 512 << 20
    file_bytes: int = 1 << 20
    open_files: int = 32


@dataclass(frozen=True)
class Job:
    """Code and the tests that it must pass: statements, each run on its own, that raise when they fail."""

    code: str
    tests: Sequence[str]
    entry_point: str


@dataclass(frozen=True)
class Verdict:
    """Outcome of a job: whether every test passed, why not, and which walls the system did not let us put up."""

    passed: bool
    reason: str
    not_enforced: tuple[str, ...] = ()


def _message(content: dict) -> bytes:
    data = json.dumps(content).encode()
    return b"%08d" % len(data) + data


class _Server:
    """One isolated interpreter that checks job after job; started when first needed and again after a kill."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._folder = tempfile.TemporaryDirectory(prefix="generated-code-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHECKER), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env={},
            start_new_session=True,
            bufsize=0,
        )
        return self._process

    def close(self) -> None:
        """Kill the interpreter and all that it started, and remove its folder."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def run(self, job: Job, limits: Limits) -> Verdict:
        """Check one job; anything but a verdict in time ends the interpreter."""
        process = self._process or self._start()
        secret = secrets.token_hex(16)
        text = _message({"code": job.code, "limits": asdict(limits)})
        text += _message({"tests": list(job.tests), "entry_point": job.entry_point, "secret": secret})
        deadline = time.monotonic() + limits.wall_seconds
        try:
            _write(process, text)
            report = json.loads(_read(process, int(_read(process, 8, deadline)), deadline))
        except TimeoutError:
            self.close()
            return Verdict(False, f"no verdict within {limits.wall_seconds:g} s")
        except (EOFError, BrokenPipeError, ValueError):
            self.close()
            return Verdict(False, "the checking process ended without a verdict (time, memory)")
        return Verdict(report["secret"] == secret, str(report["reason"]), tuple(report["not_enforced"]))


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    if process.stdin is None:
        raise EOFError("no input pipe")
    view = memoryview(data)
    while view:
        view = view[process.stdin.write(view) or 0 :]


def _read(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytes:
    """Read exactly `count` bytes; raises TimeoutError after the deadline, EOFError when the process has ended."""
    if process.stdout is None:
        raise EOFError("no output pipe")
    data = b""
    while len(data) < count:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError
        part = os.read(process.stdout.fileno(), count - len(data))
        if not part:
            raise EOFError("the process ended")
        data += part
    return data


def run_jobs(
    jobs: Sequence[Job],
    limits: Limits | None = None,
    *,
    workers: int | None = None,
    on_done: Callable[[Verdict], None] | None = None,
) -> list[Verdict]:
    """Run many jobs, `workers` at a time (default: one per processor); verdicts are in the order of the jobs.

    Args:
        jobs: What to run.
        limits: The limits of each job.
        workers: How many run at once.
        on_done: Called with each verdict, in order; for a progress bar.

    Raises:
        SandboxError: When this system cannot start such processes (Windows has none of the walls), or harmless code
            does not run in them.
    """
    if any(job.tests for job in jobs) and (missing := missing_walls()):
        _say(missing)
    return _run(jobs, limits, workers, on_done)


@functools.cache
def missing_walls() -> tuple[str, ...]:
    """What this system does not let the sandbox enforce; finds out, once a process, by running harmless code.

    Returns:
        Each wall that is missing, with the system's reason.

    Raises:
        SandboxError: Harmless code fails in the sandbox, so that a score would say nothing about a program.
    """
    if os.name != "posix":
        raise SandboxError(
            f"generated code can be contained on Linux and macOS only, not on {sys.platform}; score elsewhere"
        )
    harmless = Job(HARMLESS_CODE, HARMLESS_TESTS, "harmless")
    verdict = _run([harmless], Limits(wall_seconds=60, cpu_seconds=20))[0]
    if not verdict.passed:
        raise SandboxError(
            f"the sandbox for generated code does not run harmless code on this system ({verdict.reason}), so that "
            "right programs would score 0; score on another machine, or outside of this container"
        )
    return verdict.not_enforced


def walls_to_do_without(allowed: bool) -> list[str]:
    """The walls that this system lacks, where somebody has allowed to run code without them.

    Args:
        allowed: Whether any may be missing.

    Raises:
        SandboxError: One is, and nobody has allowed that.
    """
    missing = list(missing_walls())
    if missing and not allowed:
        raise SandboxError(
            f"this system does not let the sandbox enforce everything: {'; '.join(missing)}; score where it does "
            "(Linux with user namespaces, Landlock and seccomp), or say --allow-weaker-sandbox"
        )
    return missing


@functools.cache
def _say(missing: tuple[str, ...]) -> None:
    """Warn, once a process."""
    log.warning("generated code runs with weaker walls: not enforced here are %s", "; ".join(missing))


def _run(
    jobs: Sequence[Job],
    limits: Limits | None = None,
    workers: int | None = None,
    on_done: Callable[[Verdict], None] | None = None,
) -> list[Verdict]:
    workers = max(1, min(workers or os.cpu_count() or 1, len(jobs)))
    servers: queue.SimpleQueue[_Server] = queue.SimpleQueue()
    for _ in range(workers):
        servers.put(_Server())

    def run(job: Job) -> Verdict:
        if not job.tests:
            return Verdict(False, "there is no test")
        server = servers.get()
        try:
            return server.run(job, limits or Limits())
        finally:
            servers.put(server)

    verdicts = []
    try:
        with ThreadPoolExecutor(workers) as pool:
            for verdict in pool.map(run, jobs):
                verdicts.append(verdict)
                if on_done is not None:
                    on_done(verdict)
    finally:
        while not servers.empty():
            servers.get().close()
    return verdicts
