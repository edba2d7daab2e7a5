"""Runs a grid: each run in a fresh process, finished runs skipped, failed runs recorded, interrupted grids continued.

Several runners may work on one grid, on one machine or on several that share a file system with locks: each takes the
runs that no other holds, and waits in the end for those that others do.

Knows specs, folders and processes; what a run does is the worker's. The heavy imports happen once, in a fork server,
so that a run costs no start-up, yet has its own memory (its peak is its own) and its own end (a crash stays in it).
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from esft_lightning.comparison.devices import DevicePool, visible_devices
from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.run_places import CACHE_FOLDER, SPEC_FILE, RunPlaces, run_key
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.worker import LOG_FILE, PRELOAD, PRELOAD_WITHOUT_CUDA, run_in_child
from esft_lightning.errors import FileError, one_line

_GRACE_SECONDS = 3.0
_LOOK_SECONDS = 1.0  # between looks at what another runner is making
_UNITS = 100  # of the progress bar, for each run
_PHASES = {"prepare": (0.0, 0.1), "train": (0.1, 0.55), "evaluate": (0.65, 0.35)}  # start and share of a run


@dataclass(frozen=True)
class GridOutcome:
    """What became of a grid.

    Attributes:
        results: One result a run, finished or failed, in the order of the specs.
        folders: The runs' folders, in the same order.
        made: How many runs were made by this runner.
        kept: How many were found finished, or made by another runner meanwhile.
    """

    results: list[RunResult]
    folders: list[Path]
    made: int
    kept: int

    @property
    def failed(self) -> list[RunResult]:
        """The runs that failed."""
        return [result for result in self.results if not result.finished]


def run_grid(
    specs: Sequence[RunSpec],
    output: str | Path,
    *,
    threads: int | None = None,
    jobs: int = 1,
    allow_code_execution: bool = False,
    console: Console | None = None,
) -> GridOutcome:
    """Run every spec that has no finished result in `output` yet.

    Base runs come first, since the other runs record the base's scores beside their own. Ctrl-C ends the run at hand
    and raises KeyboardInterrupt; what is finished stays, and the same call goes on from there.

    Args:
        specs: Any specs; equal ones are run once.
        output: Root folder; runs lie below it at `spec.folder`.
        threads: Threads of a run; default: the cores that this process may use, shared among the jobs.
        jobs: Runs that are made at the same time. Where there are several CUDA devices, runs are dealt among them; each
            sees its own alone.
        allow_code_execution: Score the code task by running what the model wrote, in a limited process.
        console: Where progress is shown.

    Returns:
        Results and folders.

    Raises:
        OSError: If `output` cannot be written.
    """
    output = Path(output).resolve()
    console = console or Console()
    keyed = {run_key(spec): spec for spec in specs}
    threads = threads or max(1, usable_cores() // jobs)
    output.mkdir(parents=True, exist_ok=True)
    places = RunPlaces(output)
    # a run may have been made under another label
    results = {key: replace(found, spec=keyed[key]) for key in keyed if (found := places.finished(key)) is not None}
    waiting = [key for key in keyed if key not in results]
    kept = len(results)
    running = _Running()
    devices = DevicePool(visible_devices(), jobs)
    with _progress(console) as bar:
        total = bar.add_task("", total=_UNITS * len(waiting), runs=len(waiting), done=0)
        shares = dict.fromkeys(waiting, 0.0)
        made = 0

        def make(key: str) -> tuple[RunResult, float] | None:
            """Make a run; None where another runner is at it, 0 seconds where it had finished meanwhile."""
            spec = keyed[key]

            def show(phase: str, share: float) -> None:
                shares[key] = share
                bar.update(total, completed=_UNITS * sum(shares.values()), description=f"{_title(spec)}: {phase}")

            with devices.lend() as device, places.claim(key, spec) as folder:
                if folder is None:
                    return None
                if (found := places.finished(key)) is not None:
                    return replace(found, spec=spec), 0.0
                show("start", 0.0)
                started = time.perf_counter()
                before = places.finished(run_key(spec.base_run())) if not spec.is_base else None
                job = _Job(spec, key, folder, output / CACHE_FOLDER, before.after if before else {}, device)
                result = _run_one(job, threads, allow_code_execution, show, running)
                return result, time.perf_counter() - started

        def make_group(group: Sequence[str]) -> list[str]:
            """Make runs; returns those that another runner is making."""
            nonlocal made
            elsewhere = []
            with ThreadPoolExecutor(jobs) as pool:
                futures = {pool.submit(make, key): key for key in group}
                try:
                    for future in as_completed(futures):
                        key, outcome = futures[future], future.result()
                        if outcome is None:
                            elsewhere.append(key)
                            continue
                        results[key], seconds = outcome
                        shares[key] = 1.0
                        made += seconds > 0
                        done = sum(1 for other in waiting if other in results)
                        bar.update(total, done=done)
                        console.print(
                            f"[{done}/{len(waiting)}] {_title(keyed[key])}: {_said(results[key], seconds)}",
                            markup=False,
                            highlight=False,
                            soft_wrap=True,
                        )
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    running.end()
                    raise
            return elsewhere

        # The base runs first: the others record their scores.
        for group in ([k for k in waiting if keyed[k].is_base], [k for k in waiting if not keyed[k].is_base]):
            left = make_group(group)
            while left:
                bar.update(total, description=f"{len(left)} runs in the hands of another runner")
                time.sleep(_LOOK_SECONDS)
                left = make_group(left)
        bar.update(total, completed=_UNITS * len(waiting), done=len(waiting), description="all runs")
    folders = [places.folder(key) or output / keyed[key].folder for key in keyed]
    return GridOutcome([results[key] for key in keyed], folders, made, kept + len(waiting) - made)


def _title(spec: RunSpec) -> str:
    return f"{spec.task} {spec.name}" + (f" seed {spec.seed}" if spec.seed else "")


def _said(result: RunResult, seconds: float) -> str:
    if not seconds:
        return "made by another runner"
    return f"{'finished' if result.finished else f'FAILED: {result.error}'} ({seconds:.1f} s)"


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class _Job:
    """A run that is about to be made, with its place and what it shares with others."""

    spec: RunSpec
    key: str
    folder: Path
    cache: Path
    before: dict[str, float]
    device: str | None


class _Running:
    """The processes of the runs at hand, so that an interruption ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: list[Any] = []
        self.ended = False

    def start(self, child: Any) -> None:
        """Start a run's process, unless all have been ended."""
        with self._lock:
            if self.ended:
                raise InterruptedError("the grid has been interrupted")
            child.start()
            self._children.append(child)

    def end(self) -> None:
        """End every process; none is started any more."""
        with self._lock:
            self.ended = True
            for child in self._children:
                if child.is_alive():
                    _end(child)


def _run_one(
    job: _Job, threads: int, allow_code_execution: bool, show: Callable[[str, float], None], running: _Running
) -> RunResult:
    """Run a spec in a process of its own and see it to its end."""
    spec, key, folder = job.spec, job.key, job.folder
    for path in folder.iterdir():  # of an unfinished or failed attempt at this very run
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != SPEC_FILE:
            path.unlink()
    if run_key(spec) != key:
        error = f"files of base {spec.base!r}, or files that the run reads, changed meanwhile; give the command again"
        return _failed(job, error)
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=run_in_child,
        args=(spec, key, folder, job.cache, job.before, threads, allow_code_execution, job.device, sender),
        name=f"{spec.task}/{spec.name}/seed{spec.seed}",
    )
    try:
        running.start(child)
        sender.close()
        _follow(receiver, show)
        child.join()
    finally:
        receiver.close()
    if running.ended:
        raise InterruptedError("the grid has been interrupted")
    try:
        return RunResult.load(folder)
    except (OSError, ValueError):
        return _failed(job, _why_ended(child.exitcode, folder / LOG_FILE))


def _failed(job: _Job, error: str) -> RunResult:
    """Record a failure that the run's process could not record itself; where there is no room for it, only say it."""
    result = RunResult(job.spec, "failed", job.key, error=error, before=job.before)
    try:
        result.save(job.folder)
    except (OSError, FileError) as unwritten:
        return replace(result, error=f"{error}; and that is not on disk: {one_line(unwritten)}")
    return result


def _follow(receiver: Connection, show: Callable[[str, float], None]) -> None:
    """Show a run's messages until it hangs up."""
    while True:
        try:
            phase, done, total = receiver.recv()
        except (EOFError, OSError):
            return
        start, share = _PHASES[phase]
        counted = f" {done}/{total}" if phase == "train" else ""
        show(f"{phase}{counted}", start + share * done / max(1, total))


def _end(child: Any) -> None:
    """End a run's process: asked first, then told."""
    child.terminate()
    child.join(_GRACE_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()


def _why_ended(code: int | None, log: Path) -> str:
    try:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    except OSError:
        last = []
    cause = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    hint = " (out of memory?)" if code == -9 else ""
    return f"the run's process was {cause}{hint}; {log} ends with: {last[0] if last else 'nothing'}"


def _context() -> Any:
    """Processes from a server that has made the heavy imports; where there are none, fresh interpreters."""
    # Threads that wait by spinning make runs ten times slower as soon as anything else uses a core (measured: 11 s
    # against 2.2 s for a training step), and win next to nothing on an idle machine. Read when OpenMP is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD if visible_devices() else PRELOAD_WITHOUT_CUDA))
    return context


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[runs]} runs"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        console=console,
        transient=True,
        speed_estimate_period=900,
    )
