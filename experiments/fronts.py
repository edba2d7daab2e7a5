"""Fronts, not points: task score against forgetting, over learning rates and steps.

    python -m experiments.fronts --jobs 2

A strategy that forgets less may only have learned less. So each one's runs at all rates and lengths are drawn together,
and strategies are compared by what they score while forgetting no more than a given amount. Which run stands for a
strategy there is chosen by its score on validation rows, or its validation loss where those were not answered: test
rows play no part in the choice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import numpy as np

from esft_lightning.comparison import RunResult
from esft_lightning.publication import (
    Claim,
    Figure,
    Interval,
    ResultTable,
    Section,
    judge_difference,
    stratified_difference,
)
from experiments import training
from experiments.charts import MARKERS
from experiments.choice import Choice
from experiments.drawing import COLORS, new_figure
from experiments.outcomes import TASK, Outcomes, held_out_loss, interval_cell, number, run_set
from experiments.training_settings import VANILLA

NAME = "fronts"
BUDGETS = (0.05, 0.1, 0.2, 0.4)
"""How much the held-out loss may grow, nats per token."""


def strategy_of(label: str) -> str:
    """The strategy of a label such as `FFT 3e-5, 50 steps`."""
    return label.partition(", ")[0].rpartition(" ")[0]


def strategies_of(outcomes: Outcomes) -> list[str]:
    """The strategies, in the order of their rows."""
    return list(dict.fromkeys(strategy_of(label) for label in outcomes.labels))


def growth(outcomes: Outcomes, run: RunResult) -> float | None:
    """Growth of the held-out loss over the base, nats per token; None where it was not measured."""
    base = outcomes.base_of(run)
    try:
        return None if base is None else held_out_loss(run) - held_out_loss(base)
    except KeyError:
        return None


def points(
    outcomes: Outcomes, strategy: str, task: str, seed: int | None = None
) -> list[tuple[float, float, RunResult]]:
    """`(growth of the held-out loss, task score, run)` of each of a strategy's runs, by growth; of one seed or all."""
    found = []
    for label in outcomes.labels:
        if strategy_of(label) == strategy:
            for run in outcomes.of(label, task):
                lost, score = growth(outcomes, run), TASK.of(run)
                if seed in (None, run.spec.seed) and lost is not None and score is not None:
                    found.append((lost, score, run))
    return sorted(found, key=lambda point: point[:2])


def front(values: Iterable[tuple[float, float, RunResult]]) -> list[tuple[float, float, RunResult]]:
    """The points that no other one beats in both: falling forgetting costs score."""
    kept: list[tuple[float, float, RunResult]] = []
    for point in sorted(values, key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def best_within(values: Iterable[tuple[float, float, RunResult]], budget: float) -> RunResult | None:
    """The best run on validation rows among those whose held-out loss grew by no more than `budget`."""
    values = list(values)
    choice = Choice.of(run for *_, run in values)
    within = [
        (choice.order(value), run)
        for lost, _, run in values
        if lost <= budget and (value := choice.value(run)) is not None
    ]
    return min(within, key=lambda entry: entry[0])[1] if within else None


def chosen_rows(outcomes: Outcomes, strategy: str, task: str, budget: float) -> np.ndarray | None:
    """Row scores [seeds, rows] of each seed's best run within the budget; the base's where no run is."""
    base = outcomes.first(VANILLA, task)
    rows = []
    for seed in outcomes.seeds:
        values = points(outcomes, strategy, task, seed)
        if not values:
            continue
        run = best_within(values, budget) or base
        if run is not None:
            rows.append(run.rows["task"])
    return np.array(rows) if rows else None


def at_equal_forgetting(
    outcomes: Outcomes, first: str, second: str, budgets: Sequence[float] = BUDGETS
) -> Interval | None:
    """`first − second`, task score in points at equal budgets, mean over tasks and budgets.

    The interval is over rows and seeds, which are drawn together for all budgets of a task.
    """
    pairs, row_sets, run_sets = [], [], []
    for task in outcomes.tasks:
        names = tuple(run_set([run for *_, run in points(outcomes, name, task)], task) for name in (first, second))
        for budget in budgets:
            left, right = (chosen_rows(outcomes, name, task, budget) for name in (first, second))
            if left is not None and right is not None:
                pairs.append((left, right))
                row_sets.append(task)
                run_sets.append(names)
    return stratified_difference(pairs, row_sets=row_sets, run_sets=run_sets).scaled(100) if pairs else None


def equal_forgetting_table(outcomes: Outcomes) -> ResultTable:
    """Strategy × task × budget: the task score within it."""
    rows, groups = [], {}
    for task in outcomes.tasks:
        groups[len(rows)] = task
        for name in strategies_of(outcomes):
            scores = [chosen_rows(outcomes, name, task, budget) for budget in BUDGETS]
            rows.append([name, *(number(None if found is None else 100 * found.mean()) for found in scores)])
    columns = ("strategy", *(f"≤ {budget:g}" for budget in BUDGETS))
    caption = (
        f"task score 0–100 of the run with {Choice.of(outcomes.runs).best} among a strategy's runs whose held-out loss "
        "grew by no more than so many nats per token, mean over seeds; the base's score where no run forgets so little"
    )
    return ResultTable(NAME, caption, columns, rows, groups)


def runs_table(outcomes: Outcomes) -> ResultTable:
    """Every run behind the fronts."""
    rows, groups = [], {}
    for task in outcomes.tasks:
        groups[len(rows)] = task
        for label in outcomes.labels:
            for run in outcomes.of(label, task):
                on_front = run in [p[2] for p in front(points(outcomes, strategy_of(label), task, run.spec.seed))]
                name = label + (f", seed {run.spec.seed}" if len(outcomes.seeds) > 1 else "")
                rows.append([name + (" *" if on_front else ""), number(TASK.of(run)), number(growth(outcomes, run), 3)])
    columns = ("run", "task score", "growth of held-out loss")
    return ResultTable(f"{NAME}_runs", "* on its strategy's front; loss in nats per token", columns, rows, groups)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT reaches more at equal forgetting than full fine-tuning, LoRA and random experts."""
    claims = []
    for label, random in (("ESFT-Token", "random (Token)"), ("ESFT-Gate", "random (Gate)")):
        for other in ("FFT", "LoRA", random):
            gained = at_equal_forgetting(outcomes, label, other)
            claims.append(
                Claim(
                    f"At equal forgetting ESFT reaches more than {other}",
                    "beyond the paper",
                    judge_difference(gained),
                    f"{label} − {other}, task score, points, mean over tasks and over {len(BUDGETS)} bounds of the "
                    "held-out loss's growth",
                    gained,
                    "interval above 0; each at its best rate and length within the bound, by "
                    f"{Choice.of(outcomes.runs).measure}",
                )
            )
    return claims


def difference_table(outcomes: Outcomes) -> ResultTable:
    """ESFT less the others at every budget."""
    rows = [
        [
            f"{label} − {other}",
            *(interval_cell(at_equal_forgetting(outcomes, label, other, [b])) for b in BUDGETS),
            interval_cell(at_equal_forgetting(outcomes, label, other)),
        ]
        for label in ("ESFT-Token", "ESFT-Gate")
        for other in strategies_of(outcomes)
        if not other.startswith("ESFT")
    ]
    caption = "points of task score at equal forgetting, mean over tasks; 95 % bootstrap intervals over rows and seeds"
    return ResultTable(f"{NAME}_differences", caption, ("", *(f"≤ {b:g}" for b in BUDGETS), "mean"), rows)


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Fronts, tables and claims."""
    figure = new_figure(4.6 * len(outcomes.tasks) + 1.8, 4.2)
    axes = figure.subplots(1, len(outcomes.tasks), squeeze=False)[0]
    for axis, task in zip(axes, outcomes.tasks, strict=True):
        for place, name in enumerate(strategies_of(outcomes)):
            color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
            for seed in outcomes.seeds:
                values = points(outcomes, name, task, seed)
                best = front(values)
                first = axis is axes[0] and seed == outcomes.seeds[0]
                axis.scatter(
                    [p[0] for p in values], [p[1] for p in values], s=18, color=color, marker=marker, alpha=0.5
                )
                axis.plot([p[0] for p in best], [p[1] for p in best], color=color, marker=marker, markersize=5,
                          label=name if first else None)  # fmt: skip
        axis.axvline(0, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_title(task)
        axis.set_xlabel("growth of held-out loss, nats per token")
        axis.set_ylabel("task score")
        axis.set_xscale("symlog", linthresh=0.1)
        axis.grid(alpha=0.25)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    text = (
        "The learning rate and the number of steps move a strategy along its own front: more of the task, less of what "
        "was known. Better is up and to the left. A strategy at one rate is one point; only fronts can be compared. "
        "Random experts have the rates and lengths of the ESFT strategy whose number of experts they share."
    )
    return Section(
        NAME,
        "Task score at equal forgetting",
        "beyond the paper",
        text,
        command,
        training.provenance(outcomes),
        [equal_forgetting_table(outcomes), difference_table(outcomes), runs_table(outcomes)],
        [Figure(NAME, figure, "Every run, and each strategy's front")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
