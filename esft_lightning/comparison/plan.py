"""What a grid still has to do, and how long that will take: said before it starts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from esft_lightning.comparison.result import RunResult, load_results
from esft_lightning.comparison.run_places import run_key
from esft_lightning.comparison.run_spec import RunSpec

_GUESS_SECONDS, _GUESS_STEP_SECONDS = 15.0, 0.25
"""Of a run of the embedded model on one core, where nothing has been measured yet."""


@dataclass(frozen=True)
class Plan:
    """The runs of one grid or of several that share a root; a run that several ask for counts once.

    Attributes:
        waiting: The runs that have not finished, in their order.
        finished: How many have.
        hours: Estimated duration of what is waiting.
        jobs: Runs at the same time.
        measured: Whether the estimate rests on finished runs.
    """

    waiting: tuple[RunSpec, ...]
    finished: int
    hours: float
    jobs: int
    measured: bool

    def __str__(self) -> str:
        """One line for the terminal."""
        steps = sum(spec.steps for spec in self.waiting)
        basis = "by the runs that have finished" if self.measured else "a guess: no run has finished yet"
        time = f"{self.hours:.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.0f} minutes"
        return (
            f"{len(self.waiting) + self.finished} runs, {self.finished} of them finished; {len(self.waiting)} to make, "
            f"{steps:,} steps, about {time} with {self.jobs} at a time ({basis})"
        )


def plan_of(specs: Iterable[RunSpec], output: str | Path, jobs: int = 1) -> Plan:
    """What is left to do.

    Args:
        specs: Any specs; equal ones count once.
        output: Root of the runs; need not exist.
        jobs: Runs at the same time.

    Returns:
        The plan; a run's duration is the median of the finished runs of as many steps, else in proportion to steps.

    Raises:
        ValueError: A result below `output` that cannot be read; the file is named.
    """
    keyed = {run_key(spec): spec for spec in specs}
    results = [result for result in load_results(output) if result.finished] if Path(output).is_dir() else []
    done = {result.key for result in results}
    waiting = tuple(spec for key, spec in keyed.items() if key not in done)
    seconds = sum(_seconds(spec, results) for spec in waiting)
    return Plan(waiting, len(keyed) - len(waiting), seconds / 3600 / max(1, jobs), jobs, bool(results))


def _seconds(spec: RunSpec, results: list[RunResult]) -> float:
    alike = [run for run in results if run.spec.base == spec.base and run.seconds.get("total")]
    same = [run.seconds["total"] for run in alike if run.spec.steps == spec.steps]
    if same:
        return statistics.median(same)
    rates = [run.seconds["total"] / run.spec.steps for run in alike if run.spec.steps]
    return spec.steps * statistics.median(rates) if rates else _GUESS_SECONDS + _GUESS_STEP_SECONDS * spec.steps
