"""What came out of an experiment's runs: scores by row, task and seed; means, deviations and paired differences.

Made from `result.json` files alone. All scores are in points, 0 to 100.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from esft_lightning.comparison import RunResult
from esft_lightning.comparison.result import ALSO, GENERAL, GENERAL_LOSS
from esft_lightning.comparison.summary import Spread
from esft_lightning.publication import Interval, stratified_difference
from experiments.training_settings import VANILLA

NOTHING = "–"


@dataclass(frozen=True)
class Measure:
    """A score of a run that comes from rows.

    Attributes:
        name: What tables call it.
        belongs: Which entries of `RunResult.rows` it is made of; each counts the same.
    """

    name: str
    belongs: Callable[[str], bool]

    def tests(self, result: RunResult) -> dict[str, list[float]]:
        """Name of a test → scores of its rows in [0, 1]."""
        return {name: rows for name, rows in result.rows.items() if rows and self.belongs(name)}

    @classmethod
    def of_test(cls, test: str, name: str) -> Measure:
        """The score of one test alone."""
        return cls(name, lambda entry: entry == test)

    def of(self, result: RunResult) -> float | None:
        """The run's score in points; None where the run has none."""
        tests = self.tests(result)
        return 100 * statistics.fmean(statistics.fmean(rows) for rows in tests.values()) if tests else None


TASK = Measure("task score", lambda name: name == "task")
ABILITY = Measure("general ability", lambda name: name.startswith(GENERAL))
OTHER_TASKS = Measure("other tasks", lambda name: name.startswith(ALSO))


@dataclass(frozen=True)
class Outcomes:
    """The finished runs of an experiment.

    Attributes:
        rows: Label → task → finished runs by seed; `VANILLA` is the base.
        tasks: Task names, in their order.
        missing: Runs that have not finished, or failed.
    """

    rows: Mapping[str, Mapping[str, Sequence[RunResult]]]
    tasks: Sequence[str]
    missing: int = 0

    @property
    def labels(self) -> list[str]:
        """The labels of rows that were trained."""
        return [label for label in self.rows if label != VANILLA]

    @property
    def runs(self) -> list[RunResult]:
        """All runs, each once."""
        return list({run.key: run for tasks in self.rows.values() for runs in tasks.values() for run in runs}.values())

    @property
    def seeds(self) -> list[int]:
        """Seeds that runs were trained with."""
        return sorted({run.spec.seed for run in self.runs if not run.spec.is_base})

    def of(self, label: str, task: str) -> Sequence[RunResult]:
        """Finished runs of a row on a task, by seed."""
        return self.rows.get(label, {}).get(task, ())

    def first(self, label: str, task: str) -> RunResult | None:
        """The run of the lowest seed, or None."""
        return next(iter(self.of(label, task)), None)

    def base_of(self, run: RunResult) -> RunResult | None:
        """The base's run that a run started from, or None where it has not finished."""
        key = run.spec.base_run().content_hash
        return next((base for base in self.of(VANILLA, run.spec.task) if base.spec.content_hash == key), None)

    def spread(self, measure: Measure, label: str, task: str) -> Spread | None:
        """A score over seeds, in points."""
        return Spread.of(measure.of(run) for run in self.of(label, task))

    def over_tasks(self, measure: Measure, label: str, tasks: Iterable[str] | None = None) -> float | None:
        """Mean over tasks of the mean over seeds; None unless every task has it."""
        spreads = [self.spread(measure, label, task) for task in tasks or self.tasks]
        return whole_mean([None if spread is None else spread.mean for spread in spreads])

    def mean_spread(self, measure: Measure, label: str) -> Spread | None:
        """As `over_tasks`, with the deviation over seeds of that mean."""
        mean = self.over_tasks(measure, label)
        if mean is None:
            return None
        scores = [
            {run.spec.seed: score for run in self.of(label, task) if (score := measure.of(run)) is not None}
            for task in self.tasks
        ]
        seeds = set.intersection(*({*found} for found in scores))
        means = [statistics.fmean(found[seed] for found in scores) for seed in seeds]
        return Spread(mean, statistics.stdev(means) if len(means) > 1 else None, len(means))

    def difference(
        self, measure: Measure, first: str, second: str, tasks: Iterable[str] | None = None
    ) -> Interval | None:
        """`first − second` in points, mean over the tasks that both have, interval over rows and seeds.

        Probes ask every trained task's runs the same rows; these are drawn together, and seeds as `run_set` says.
        """
        pairs, row_sets, run_sets = [], [], []
        for task in tasks or self.tasks:
            left = [measure.tests(run) for run in self.of(first, task)]
            right = [measure.tests(run) for run in self.of(second, task)]
            if not left or not right:
                continue
            for name in sorted(left[0]):  # archived results have their tests in another order
                if all(name in tests for tests in (*left, *right)):
                    pairs.append((np.array([tests[name] for tests in left]), np.array([t[name] for t in right])))
                    row_sets.append(row_set(name, task))
                    run_sets.append(tuple(run_set(self.of(label, task), task) for label in (first, second)))
        if not pairs:
            return None
        return stratified_difference(pairs, row_sets=row_sets, run_sets=run_sets).scaled(100)

    def mean(self, value: Callable[[RunResult], float], label: str, tasks: Iterable[str] | None = None) -> float | None:
        """Mean of any number of a run, over tasks and seeds; None where no run has finished."""
        values = [value(run) for task in tasks or self.tasks for run in self.of(label, task)]
        return statistics.fmean(values) if values else None


def whole_mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where there is no value, or one lacks."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def row_set(test: str, task: str) -> tuple[str, str]:
    """Rows that a bootstrap draws together: the task's own, or those that every trained task's runs are asked."""
    return test, task if test == "task" else ""


def run_set(runs: Sequence[RunResult], task: str) -> str:
    """Runs whose seeds a bootstrap draws together: a task's, which take all of its tests, or all random experts'.

    A seed draws the same random experts for every task; other runs share nothing between tasks.
    """
    return "random experts" if any(run.spec.strategy == "RandomExperts" for run in runs) else task


def cell(spread: Spread | None) -> str:
    """A score with its deviation over seeds, as a table's cell."""
    if spread is None:
        return NOTHING
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")


def number(value: float | None, digits: int = 1) -> str:
    """A number as a table's cell."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def interval_cell(interval: Interval | None) -> str:
    """A difference with its interval, as a table's cell."""
    return NOTHING if interval is None else str(interval)


def experts_per_layer(run: RunResult) -> float:
    """Selected routed experts of a layer, mean over layers; 0 where none were selected."""
    counts = [len(experts) for experts in run.selected_experts.values()]
    return statistics.fmean(counts) if counts else 0.0


def held_out_loss(run: RunResult) -> float:
    """Loss on held-out general text, nats per token.

    Raises:
        KeyError: The run was made without general ability.
    """
    return run.after[GENERAL_LOSS]
