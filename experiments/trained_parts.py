"""Which parts are worth training? Routed experts, shared experts, everything else (the paper's Tables 3, 6 and 7).

python -m experiments.trained_parts --jobs 2 --allow-code-execution
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.comparison.table import quantity
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.drawing import COLORS, new_figure
from experiments.outcomes import ABILITY, NOTHING, TASK, Outcomes, cell, interval_cell, number
from experiments.paper_numbers import TABLE_3, TABLE_7
from experiments.training_settings import VANILLA

NAME = "trained_parts"
RELEVANT = "relevant"
LITTLE = 1.5
"""Points that count as little; in the paper's Table 3 shared experts add 0.4, everything else with them 1.4."""


def means_table(outcomes: Outcomes) -> ResultTable:
    """What trains → parameters, task score, general ability, their mean; ours and the paper's."""
    rows = []
    for label in outcomes.rows:
        task, ability = (outcomes.over_tasks(measure, label) for measure in (TASK, ABILITY))
        trained = outcomes.mean(lambda run: run.parameters.get("trained", 0), label)
        ours = [
            number(task),
            number(ability),
            number(None if task is None or ability is None else (task + ability) / 2),
        ]
        paper = TABLE_3.get(label)
        theirs = [number(value) for value in paper or (None, None, None)]
        rows.append([label, "–" if trained is None else quantity(trained), *ours, *theirs])
    columns = ("trained parts", "parameters", "task", "general", "mean", "paper: task", "general ", "mean ")
    caption = (
        "scores 0–100, mean over tasks (the paper's over its eight benchmarks); relevant: ESFT-Token's experts; "
        "random: as many drawn at random"
    )
    return ResultTable(NAME, caption, columns, rows)


def scores_table(outcomes: Outcomes) -> ResultTable:
    """Task scores, and differences to training the relevant experts alone."""
    rows, groups = [], {0: "embedded benchmark"}
    for label in outcomes.rows:
        cells = [cell(outcomes.spread(TASK, label, task)) for task in outcomes.tasks]
        differences = [
            interval_cell(None if label in (RELEVANT, VANILLA) else outcomes.difference(measure, label, RELEVANT))
            for measure in (TASK, ABILITY)
        ]
        rows.append([label, *cells, *differences])
    groups[len(rows)] = "the paper, DeepSeek-V2-Lite"
    for label in outcomes.rows:
        paper = TABLE_7.get(label)
        if paper:
            rows.append([label, *(number(paper.get(task)) for task in outcomes.tasks), NOTHING, NOTHING])
    columns = ("trained parts", *outcomes.tasks, "task, less relevant", "general, less relevant")
    caption = "task scores 0–100; 95 % bootstrap intervals over the same rows"
    return ResultTable(f"{NAME}_by_task", caption, columns, rows, groups)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """Shared experts and non-expert parts add little to the relevant experts."""
    claims = []
    for label, what in (
        ("relevant + shared", "the shared experts"),
        ("relevant + shared + non-expert", "shared experts and non-expert parts"),
    ):
        added = outcomes.difference(TASK, label, RELEVANT)
        claims.append(
            Claim(
                f"Training {what} too adds little",
                "Table 3",
                judge_difference(None if added is None else added.scaled(-1), beyond=-LITTLE),
                f"{RELEVANT} − ({label}), task score, points, mean over tasks",
                None if added is None else added.scaled(-1),
                f"interval above −{LITTLE:g} points",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Means, scores by task and claims."""
    figure = new_figure(6.4, 4.0)
    axis = figure.subplots()
    for place, label in enumerate(outcomes.rows):
        task, ability = (outcomes.over_tasks(measure, label) for measure in (TASK, ABILITY))
        if task is not None and ability is not None:
            axis.scatter(task, ability, color=COLORS[place % len(COLORS)], label=label, zorder=3)
    axis.set_xlabel("task score, mean over tasks")
    axis.set_ylabel("general ability, mean over tasks")
    axis.grid(alpha=0.25)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    text = (
        "Which parts of the model train, at the same steps and batches. Where attention, norms and embeddings train, "
        "the rate is that of frozen experts, a tenth of ESFT's: a rate that suits some experts is too large for them."
    )
    return Section(
        NAME,
        "Which parts are worth training?",
        "Tables 3, 6 and 7",
        text,
        command,
        training.provenance(outcomes),
        [means_table(outcomes), scores_table(outcomes)],
        [Figure(NAME, figure, "Task score against general ability, by what trains")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
