"""Running generated code against tests, contained: own processes, hard limits, no files, no network, no other process.

Each job gets a fresh isolated interpreter (`python -I -S -B`, empty environment, own session, empty temporary folder)
that runs `isolated_checker.py`; see there why the code cannot report a success that it has not earned, and
`containment.py` for the walls. What a system does not let us enforce is in `Verdict.not_enforced`. This file knows
nothing of prompts and prediction texts.

It is no virtual machine: the kernel is shared. Run code of unknown origin on a machine that holds nothing you would
miss.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKER = Path(__file__).with_name("isolated_checker.py")


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


def run_job(job: Job, limits: Limits | None = None) -> Verdict:
    """Run one piece of generated code against its tests in a contained process.

    Raises:
        OSError: When this system cannot start such a process (Windows has none of the walls).
    """
    if os.name != "posix":
        raise OSError(
            f"generated code can be contained on Linux and macOS only, not on {sys.platform}; score elsewhere"
        )
    limits = limits or Limits()
    if not job.tests:
        return Verdict(False, "there is no test")
    secret = secrets.token_hex(16)
    # A lone surrogate survives JSON but not Python's parser: it fails there, as it should.
    text = _message({"code": job.code, "limits": asdict(limits)})
    text += _message({"tests": list(job.tests), "entry_point": job.entry_point, "secret": secret})
    with tempfile.TemporaryDirectory(prefix="generated-code-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHECKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(text, timeout=limits.wall_seconds)
        except subprocess.TimeoutExpired:
            return Verdict(False, f"no verdict within {limits.wall_seconds:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    try:
        report = json.loads(output[8:])
    except ValueError:
        return Verdict(False, "the checking process ended without a verdict (time, memory)")
    return Verdict(report["secret"] == secret, str(report["reason"]), tuple(report["not_enforced"]))


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
    """
    verdicts = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for verdict in pool.map(lambda job: run_job(job, limits), jobs):
            verdicts.append(verdict)
            if on_done is not None:
                on_done(verdict)
    return verdicts
