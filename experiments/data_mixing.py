"""What does general data do when it is mixed in? The paper's Tables 9 and 10.

python -m experiments.data_mixing --jobs 2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.charts import lines
from experiments.drawing import new_figure
from experiments.outcomes import ABILITY, TASK, Outcomes, cell, interval_cell, number, whole_mean
from experiments.paper_numbers import TABLE_1, TABLE_2, TABLE_9, TABLE_10

NAME = "data_mixing"
MIXED = ", mixed"


def mixing_table(outcomes: Outcomes) -> ResultTable:
    """Rows without and with general data: task scores, general ability, and the paper's means."""
    rows = []
    mixed_general = {label: mean for label, (mean, _) in TABLE_2.items()}
    for label in outcomes.rows:
        cells = [cell(outcomes.spread(TASK, label, task)) for task in outcomes.tasks]
        means = [number(outcomes.over_tasks(measure, label)) for measure in (TASK, ABILITY)]
        plain = label.removesuffix(MIXED)
        special, general = (TABLE_1, mixed_general) if label.endswith(MIXED) else (TABLE_9, TABLE_10)
        theirs = special.get(plain, {})
        paper = [whole_mean([theirs.get(task) for task in outcomes.tasks]), general.get(plain)]
        rows.append([label, *cells, *means, *map(number, paper)])
    columns = ("strategy", *outcomes.tasks, "mean", "general", "paper: mean", "paper: general")
    caption = (
        "scores 0–100 without and with as many general rows as task rows, at the same number of steps; the paper's "
        "mean is that of the same tasks"
    )
    return ResultTable(NAME, caption, columns, rows)


def change_table(outcomes: Outcomes) -> ResultTable:
    """What mixing changed."""
    plain = [label for label in outcomes.labels if not label.endswith(MIXED)]
    rows = [
        [label, *(interval_cell(outcomes.difference(m, label + MIXED, label)) for m in (TASK, ABILITY))]
        for label in plain
    ]
    caption = "mixed − not mixed, points, mean over tasks; 95 % bootstrap intervals over the same rows"
    return ResultTable(f"{NAME}_changes", caption, ("strategy", "task score", "general ability"), rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT needs general data less than full fine-tuning does."""
    claims = []
    for label in ("ESFT-Token", "ESFT-Gate"):
        kept = outcomes.difference(ABILITY, label, "FFT")
        claims.append(
            Claim(
                "Without general data ESFT forgets less than full fine-tuning",
                "Table 10",
                judge_difference(kept),
                f"{label} − FFT, general ability, points, mean over tasks",
                kept,
                "interval above 0",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Scores, changes and claims."""
    figure = new_figure(6.0, 3.8)
    axis = figure.subplots()
    points = {}
    for label in (label for label in outcomes.labels if not label.endswith(MIXED)):
        both = [
            (outcomes.over_tasks(TASK, name), outcomes.over_tasks(ABILITY, name)) for name in (label, label + MIXED)
        ]
        points[label] = [(x, y) for x, y in both if x is not None and y is not None]
    lines(axis, points, "task score, mean over tasks", "general ability")
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    text = (
        "The same runs with as many general rows as task rows in the training data. The number of steps stays, so a "
        "mixed run reads half as much of its task."
    )
    return Section(
        NAME,
        "What does general data do?",
        "Tables 9 and 10",
        text,
        command,
        training.provenance(outcomes),
        [mixing_table(outcomes), change_table(outcomes)],
        [Figure(NAME, figure, "From not mixed to mixed: the end with more general ability is the mixed one")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
