"""Runs a grid: each run in a fresh process, finished runs skipped, failed runs recorded, interrupted grids continued.

Knows specs, folders and processes; what a run does is the worker's. The heavy imports happen once, in a fork server,
so that a run costs no start-up, yet has its own memory (its peak is its own) and its own end (a crash stays in it).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from esft_lightning.affinity.atomic_write import atomic_write
from esft_lightning.comparison.base_digest import base_digest
from esft_lightning.comparison.output_lock import OutputLock
from esft_lightning.comparison.result import RESULT_FILE, RunResult
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.worker import LOG_FILE, PRELOAD, run_in_child

SPEC_FILE = "spec.json"
CACHE_FOLDER = ".cache"
_GRACE_SECONDS = 3.0
_UNITS = 100  # of the progress bar, for each run
_PHASES = {"prepare": (0.0, 0.1), "train": (0.1, 0.55), "evaluate": (0.65, 0.35)}  # start and share of a run


@dataclass(frozen=True)
class GridOutcome:
    """What became of a grid.

    Attributes:
        results: One result a run, finished or failed, in the order of the specs.
        folders: The runs' folders, in the same order.
        made: How many runs were made now.
        kept: How many were found finished.
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
        jobs: Runs that are made at the same time.
        allow_code_execution: Score the code task by running what the model wrote, in a limited process.
        console: Where progress is shown.

    Returns:
        Results and folders.

    Raises:
        OutputBusyError: If another process is running a grid in `output`.
        OSError: If `output` cannot be written.
    """
    output = Path(output).resolve()
    console = console or Console()
    keyed = {run_key(spec): spec for spec in specs}
    threads = threads or max(1, usable_cores() // jobs)
    with OutputLock(output):
        places = run_folders(output, keyed)
        found = {key: result for key, folder in places.items() if (result := _finished(folder, key)) is not None}
        # a run may have been made under another label
        results = {key: replace(result, spec=keyed[key]) for key, result in found.items()}
        waiting = [key for key in keyed if key not in results]
        kept = len(results)
        running = _Running()
        with _progress(console) as bar:
            total = bar.add_task("", total=_UNITS * len(waiting), runs=len(waiting), done=0)
            shares = dict.fromkeys(waiting, 0.0)

            def make(key: str) -> tuple[RunResult, float]:
                spec = keyed[key]

                def show(phase: str, share: float) -> None:
                    shares[key] = share
                    bar.update(total, completed=_UNITS * sum(shares.values()), description=f"{_title(spec)}: {phase}")

                show("start", 0.0)
                started = time.perf_counter()
                job = _Job(spec, key, places[key], output / CACHE_FOLDER, _base_scores(output, spec))
                result = _run_one(job, threads, allow_code_execution, show, running)
                shares[key] = 1.0
                return result, time.perf_counter() - started

            # The base runs first: the others record their scores.
            for group in ([k for k in waiting if keyed[k].is_base], [k for k in waiting if not keyed[k].is_base]):
                with ThreadPoolExecutor(jobs) as pool:
                    futures = {pool.submit(make, key): key for key in group}
                    try:
                        for future in as_completed(futures):
                            key = futures[future]
                            results[key], seconds = future.result()
                            done = sum(1 for other in waiting if other in results)
                            bar.update(total, done=done)
                            error = results[key].error
                            said = "finished" if results[key].finished else f"FAILED: {error}"
                            console.print(
                                f"[{done}/{len(waiting)}] {_title(keyed[key])}: {said} ({seconds:.1f} s)",
                                markup=False,
                                highlight=False,
                                soft_wrap=True,
                            )
                    except BaseException:
                        pool.shutdown(wait=False, cancel_futures=True)
                        running.end()
                        raise
            bar.update(total, completed=_UNITS * len(waiting), done=len(waiting), description="all runs")
    return GridOutcome([results[key] for key in places], list(places.values()), len(waiting), kept)


def _title(spec: RunSpec) -> str:
    return f"{spec.task} {spec.name}" + (f" seed {spec.seed}" if spec.seed else "")


def run_key(spec: RunSpec) -> str:
    """What a finished run is recognised by: hash of the spec and of the base model's files, 12 hexadecimal digits."""
    return sha256(f"{spec.content_hash} {base_digest(spec.base)}".encode()).hexdigest()[:12]


def run_folders(output: Path, keyed: Mapping[str, RunSpec]) -> dict[str, Path]:
    """Where runs lie: wherever below `output` their key is found, else at `spec.folder`.

    Experiments that share a root share runs: what counts is what a run is, not what it is called. Where `spec.folder`
    belongs to another run, the key is appended.

    Args:
        output: The grid's root.
        keyed: Key → run.
    """
    known = {key: path.parent for path in sorted(output.rglob(SPEC_FILE)) if (key := _key_in(path.parent))}
    folders: dict[str, Path] = {}
    for key, spec in keyed.items():
        plain = output / spec.folder
        free = plain not in folders.values() and not plain.exists()
        folders[key] = known.get(key) or (plain if free else plain.with_name(f"{plain.name}-{key}"))
    return folders


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _key_in(folder: Path) -> str | None:
    try:
        return json.loads((folder / SPEC_FILE).read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError, AttributeError):
        return None  # no run, or one that was ended before it could say what it is


def _finished(folder: Path, key: str) -> RunResult | None:
    try:
        result = RunResult.load(folder / RESULT_FILE)
    except (OSError, ValueError):
        return None  # not there, or written by another version: run again
    return result if result.finished and result.key == key else None


def _base_scores(output: Path, spec: RunSpec) -> dict[str, float]:
    if spec.is_base:
        return {}
    base = spec.base_run()
    key = run_key(base)
    result = _finished(run_folders(output, {key: base})[key], key)
    return {} if result is None else result.after


@dataclass(frozen=True)
class _Job:
    """A run that is about to be made, with its place and what it shares with others."""

    spec: RunSpec
    key: str
    folder: Path
    cache: Path
    before: dict[str, float]


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
    if folder.exists():
        shutil.rmtree(folder)  # an unfinished or failed attempt at this very run: `run_folders` looked at its key
    folder.mkdir(parents=True)
    atomic_write(folder / SPEC_FILE, (json.dumps({"key": key, **spec.to_dict()}, indent=2) + "\n").encode())
    if run_key(spec) != key:
        error = f"the files of base {spec.base!r} changed while the grid was running; give the same command again"
        return _failed(job, error)
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=run_in_child,
        args=(spec, key, folder, job.cache, job.before, threads, allow_code_execution, sender),
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
    """Record a failure that the run's process could not record itself."""
    result = RunResult(job.spec, "failed", job.key, error=error, before=job.before)
    result.save(job.folder)
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
    context.set_forkserver_preload(list(PRELOAD))
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
