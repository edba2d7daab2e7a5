"""Which learning rate suits each strategy on a model? As many rates for each, on one task of each kind.

    python -m experiments.learning_rates --jobs 2

Every rate is tried with one seed, and the two best of the main tables' strategies with a second one. A strategy keeps
the rate with the highest score on validation rows, mean over these seeds, summed over the tasks; where the runs
answered no validation rows, that with the least validation loss. Test rows play no part in the choice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.publication import Figure, ResultTable, Section
from experiments import training
from experiments.charts import lines
from experiments.choice import Choice
from experiments.drawing import new_figure
from experiments.outcomes import ABILITY, TASK, Outcomes, cell, number

NAME = "learning_rates"


def strategy_of(label: str) -> str:
    """The strategy of a label such as `FFT 3e-5`."""
    return label.rpartition(" ")[0]


def sums_over_tasks(outcomes: Outcomes, choice: Choice) -> dict[str, float]:
    """Label → sum over the tasks of what decides, mean over seeds; labels that lack a task are left out."""
    sums = {}
    for label in outcomes.labels:
        values = [value for task in outcomes.tasks if (value := choice.mean(outcomes.of(label, task))) is not None]
        if len(values) == len(outcomes.tasks):
            sums[label] = sum(values)
    return sums


def chosen(outcomes: Outcomes) -> dict[str, str]:
    """Strategy → the label with the best sum, among those that were tried with the most seeds."""
    choice = Choice.of(outcomes.runs)
    sums = sums_over_tasks(outcomes, choice)
    seeds = {label: min(len(outcomes.of(label, task)) for task in outcomes.tasks) for label in sums}
    best: dict[str, str] = {}
    for label in sorted(sums, key=lambda label: (-seeds[label], choice.order(sums[label]))):
        best.setdefault(strategy_of(label), label)
    return best


def search_table(outcomes: Outcomes) -> ResultTable:
    """Strategy and rate → what decided, and scores on test rows; a star marks the rate that was chosen."""
    choice = Choice.of(outcomes.runs)
    sums = sums_over_tasks(outcomes, choice)
    digits = 1 if choice.by_score else 3
    best = set(chosen(outcomes).values())
    rows, groups = [], {}
    for label in outcomes.labels:
        if strategy_of(label) not in groups.values():
            groups[len(rows)] = strategy_of(label)
        cells = []
        for task in outcomes.tasks:
            cells += [
                number(choice.mean(outcomes.of(label, task)), digits),
                cell(outcomes.spread(TASK, label, task)),
                cell(outcomes.spread(ABILITY, label, task)),
            ]
        used = outcomes.mean(lambda run: run.learning_rate, label)
        rate = "–" if used is None else f"{used:.0e}"
        rows.append(
            [label.rpartition(" ")[2] + (" *" if label in best else ""), rate, *cells, number(sums.get(label), digits)]
        )
    short = "validation score" if choice.by_score else "loss"
    heads = [f"{task}: {what}" for task in outcomes.tasks for what in (short, "score", "general")]
    unit = "points" if choice.by_score else "nats per labelled token"
    caption = (
        f"{short}: on validation rows, {unit}; ± standard deviation over seeds, where a rate was tried with several; "
        "* best sum over the tasks among these; rate used = rate × the model's scale"
    )
    return ResultTable(NAME, caption, ("rate", "rate used", *heads, f"{short} in all"), rows, groups)


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Table and curves."""
    figure = new_figure(4.2 * len(outcomes.tasks) + 1.8, 3.6)
    axes = figure.subplots(1, len(outcomes.tasks), squeeze=False)[0]
    choice = Choice.of(outcomes.runs)
    for axis, task in zip(axes, outcomes.tasks, strict=True):
        points: dict[str, list[tuple[float, float]]] = {}
        for label in outcomes.labels:
            run, value = outcomes.first(label, task), choice.mean(outcomes.of(label, task))
            if run is not None and value is not None:
                points.setdefault(strategy_of(label), []).append((run.learning_rate, value))
        lines(axis, points, "learning rate", choice.measure)
        axis.set_xscale("log")
        if not choice.by_score:
            axis.set_yscale("log")
        axis.set_title(task)
    axes[0].legend(fontsize=8, frameon=False)
    counts = {len(outcomes.of(label, task)) for label in outcomes.labels for task in outcomes.tasks}
    second = " with one seed; the two best of the main tables' strategies then get a second one"
    again = second if max(counts, default=1) > 1 else ", one seed"
    text = (
        f"Every strategy gets as many rates and the same rule for its end{again}. The rate with {choice.best}, summed "
        "over one enhancement and one adaptation task, serves all tasks of the main tables; random experts take the "
        "rate of the strategy whose number of experts they share."
    )
    return Section(
        NAME,
        "Which learning rate suits each strategy?",
        "the paper's search",
        text,
        command,
        training.provenance(outcomes),
        [search_table(outcomes)],
        [Figure(NAME, figure, f"{choice.measure.capitalize()} against the learning rate")],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search, print the table, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
