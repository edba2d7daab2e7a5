"""From results to rows: one row a task and strategy, mean and deviation over seeds. How rows are shown is others'."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from esft_lightning.comparison.result import GENERAL, RunResult
from esft_lightning.publication.bootstrap import Interval, stratified_mean

GENERAL_AVERAGE = f"{GENERAL}average"


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: Mean.
        deviation: Sample standard deviation (divisor n − 1); None with one seed.
        count: Number of seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that are there; None where none is."""
        known = [float(value) for value in values if value is not None]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Summary:
    """A strategy on a task, over seeds. A value is None where no finished run has it.

    Attributes:
        task: The task.
        name: The strategy's name, or the spec's label.
        is_base: Whether this is the base model, untrained.
        task_before: Task score of the base, in [0, 1].
        task_after: Task score after training.
        task_interval: Interval of the task score over rows and seeds, of the base's own in the base's row.
        general_before: General ability of the base, mean of the probes.
        general_after: General ability after training.
        general_interval: Interval of general ability, as of the task score.
        trained: Trained parameters.
        share: Trained parameters as a share of the base's.
        adapter_megabytes: Size of the adapter folder, 10⁶ bytes.
        step_seconds: Median seconds of an optimizer step.
        peak_megabytes: Largest resident memory until the end of training, 10⁶ bytes.
        results: The runs, failed ones among them.
    """

    task: str
    name: str
    is_base: bool
    task_before: Spread | None
    task_after: Spread | None
    task_interval: Interval | None
    general_before: Spread | None
    general_after: Spread | None
    general_interval: Interval | None
    trained: Spread | None
    share: Spread | None
    adapter_megabytes: Spread | None
    step_seconds: Spread | None
    peak_megabytes: Spread | None
    results: tuple[RunResult, ...]

    @property
    def task_score(self) -> Spread | None:
        """The row's own task score: the base's, or that after training."""
        return self.task_before if self.is_base else self.task_after

    @property
    def general_score(self) -> Spread | None:
        """The row's own general ability."""
        return self.general_before if self.is_base else self.general_after

    @property
    def finished(self) -> list[RunResult]:
        """The runs that came to their end."""
        return [result for result in self.results if result.finished]

    @property
    def failed(self) -> int:
        """How many runs did not."""
        return len(self.results) - len(self.finished)


def summarize(results: Sequence[RunResult]) -> list[Summary]:
    """Group results by task and strategy, in the order in which they first appear; a task's base comes first.

    Args:
        results: Results of any grid.

    Returns:
        One row a task and strategy.
    """
    tasks = list(dict.fromkeys(result.spec.task for result in results))
    rows = []
    for task in tasks:
        groups: dict[tuple[bool, str], list[RunResult]] = {}
        for result in results:
            if result.spec.task == task:
                groups.setdefault((not result.spec.is_base, result.spec.name), []).append(result)
        rows += [_summary(task, groups[key]) for key in sorted(groups, key=lambda key: key[0])]
    return rows


def _summary(task: str, results: list[RunResult]) -> Summary:
    spec = results[0].spec
    finished = [result for result in results if result.finished]

    def over(value: Callable[[RunResult], float | None]) -> Spread | None:
        return Spread.of(value(result) for result in finished)

    def trained(value: Callable[[RunResult], float | None]) -> Spread | None:
        return None if spec.is_base else over(value)

    before = (lambda result: result.after) if spec.is_base else (lambda result: result.before)
    return Summary(
        task=task,
        name=spec.name,
        is_base=spec.is_base,
        task_before=over(lambda result: before(result).get("task")),
        task_after=trained(lambda result: result.after.get("task")),
        task_interval=_interval(finished, lambda name: name == "task"),
        general_before=over(lambda result: before(result).get(GENERAL_AVERAGE)),
        general_after=trained(lambda result: result.after.get(GENERAL_AVERAGE)),
        general_interval=_interval(finished, lambda name: name.startswith(GENERAL)),
        trained=trained(lambda result: result.parameters.get("trained")),
        share=trained(lambda result: result.trained_share),
        adapter_megabytes=trained(lambda result: result.adapter_bytes / 1e6),
        step_seconds=trained(lambda result: result.seconds.get("step")),
        peak_megabytes=trained(lambda result: result.peak_memory_bytes / 1e6 if result.peak_memory_bytes else None),
        results=tuple(results),
    )


def _interval(finished: Sequence[RunResult], belongs: Callable[[str], bool]) -> Interval | None:
    """Interval of the mean of the tests that belong, over the rows and seeds of finished runs; None without rows."""
    names = [name for name in finished[0].rows if belongs(name)] if finished else []
    tests = [[run.rows.get(name, []) for run in finished] for name in names]
    complete = tests and all(len({len(rows) for rows in test}) == 1 and test[0] for test in tests)
    return stratified_mean(tests) if complete else None
