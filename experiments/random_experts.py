"""Does it matter which experts train? ESFT against as many random experts in each layer (the paper's Table 4).

    python -m experiments.random_experts --jobs 2 --allow-code-execution

The runs are those of `main_results`; every seed draws its own experts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.charts import bars
from experiments.outcomes import ABILITY, TASK, Outcomes, experts_per_layer, interval_cell, number, whole_mean
from experiments.paper_numbers import TABLE_4

NAME = "random_experts"
PAIRS = (("random (Token)", "ESFT-Token"), ("random (Gate)", "ESFT-Gate"))


def difference_table(outcomes: Outcomes) -> ResultTable:
    """Random less ESFT, by task, ours and the paper's."""
    rows, groups = [], {}
    for random, chosen in PAIRS:
        groups[len(rows)] = f"{random} − {chosen}, {number(outcomes.mean(experts_per_layer, chosen))} experts a layer"
        for measure in (TASK, ABILITY):
            cells = [interval_cell(outcomes.difference(measure, random, chosen, [task])) for task in outcomes.tasks]
            rows.append([measure.name, *cells, interval_cell(outcomes.difference(measure, random, chosen))])
        paper = [TABLE_4[random].get(task) for task in outcomes.tasks]
        rows.append(["the paper's task score", *map(number, [*paper, whole_mean(paper)])])
    caption = "points; 95 % bootstrap intervals over the same rows and over seeds"
    return ResultTable(NAME, caption, ("random − ESFT", *outcomes.tasks, "mean"), rows, groups)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """Relevant experts beat random ones."""
    claims = []
    for random, chosen in PAIRS:
        better = outcomes.difference(TASK, chosen, random)
        claims.append(
            Claim(
                "Relevant experts are better than random ones",
                "Table 4",
                judge_difference(better),
                f"{chosen} − {random}, task score, points, mean over tasks",
                better,
                "interval above 0",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Differences and claims."""
    text = (
        "The same number of experts in every layer, once those that the task uses most, once drawn at random, at the "
        "same rate. What the two share, less forgetting for one, is owed to training few experts, not to which."
    )
    labels = [label for pair in PAIRS for label in reversed(pair)]
    figure = bars(outcomes, TASK, labels, "task score")
    return Section(
        NAME,
        "Does it matter which experts train?",
        "Table 4",
        text,
        command,
        training.provenance(outcomes),
        [difference_table(outcomes)],
        [Figure(NAME, figure, "Task score: selected experts, and as many random ones")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
