"""Beyond the paper: other scores and averages, uniform numbers of experts, LoRA on relevant experts, a frozen router.

python -m experiments.beyond_the_paper --jobs 2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.comparison.selection_facts import overlap
from esft_lightning.comparison.table import quantity
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.charts import bars
from experiments.main_results import MARGIN
from experiments.outcomes import (
    ABILITY,
    NOTHING,
    TASK,
    Outcomes,
    cell,
    experts_per_layer,
    interval_cell,
    number,
)

NAME = "beyond_the_paper"
REFERENCE = "ESFT-Token"
UNIFORM = "ESFT-Token, 6 experts a layer"


def score_table(outcomes: Outcomes) -> ResultTable:
    """Row → parameters, experts of a layer, scores, and the difference to ESFT-Token."""
    rows = []
    for label in outcomes.rows:
        trained = outcomes.mean(lambda run: run.parameters.get("trained", 0), label)
        experts = outcomes.mean(experts_per_layer, label)
        cells = [cell(outcomes.spread(measure, label, task)) for task in outcomes.tasks for measure in (TASK, ABILITY)]
        against = None if label == REFERENCE else outcomes.difference(TASK, label, REFERENCE)
        rows.append(
            [
                label,
                quantity(trained) if trained else NOTHING,
                number(experts) if experts else NOTHING,
                *cells,
                interval_cell(against),
            ]
        )
    heads = [f"{task}: {what}" for task in outcomes.tasks for what in ("score", "general")]
    columns = ("what trains", "parameters", "experts a layer", *heads, f"score, less {REFERENCE}")
    caption = "scores 0–100; last column: mean over tasks, 95 % bootstrap interval over the same test rows"
    return ResultTable(NAME, caption, columns, rows)


def overlap_table(outcomes: Outcomes) -> ResultTable:
    """How many experts each rule shares with ESFT-Token's rule of the same size."""
    rows = []
    for label in outcomes.labels:
        shared, chance = [], []
        for task in outcomes.tasks:
            run, reference = outcomes.first(label, task), outcomes.first(UNIFORM, task)
            if run is None or reference is None or not run.selected_experts or label == UNIFORM:
                continue
            found = overlap(run.selected_experts, reference.selected_experts, run.affinity.get("num_experts", 1))
            shared.append(found[0])
            chance.append(found[1])
        if shared:
            rows.append([label, number(sum(shared) / len(shared)), number(sum(chance) / len(chance))])
    caption = f"experts of a layer shared with “{UNIFORM}”, mean over layers and tasks"
    return ResultTable(f"{NAME}_overlap", caption, ("selection", "shared", "by chance"), rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """Statements of later work, put to the same test."""
    better = (
        ("A uniform number of experts is worse than a threshold", REFERENCE, UNIFORM),
        ("Gate × output norm selects better than the token score", "gate × output norm, 6 experts a layer", UNIFORM),
        ("Gate × activation selects better than the token score", "gate × activation, 6 experts a layer", UNIFORM),
        ("Fisher information selects better than the token score", "Fisher, 6 experts a layer", UNIFORM),
        ("Full fine-tuning gains from a frozen router", "FFT, frozen router", "FFT"),
    )
    equal = "LoRA on the relevant experts alone is as good as LoRA everywhere or better"
    pairs = ((equal, "LoRA on relevant experts", "LoRA", -MARGIN), *((*names, 0.0) for names in better))
    claims = []
    for statement, first, second, bound in pairs:
        found = outcomes.difference(TASK, first, second)
        claims.append(
            Claim(
                statement,
                "later work",
                judge_difference(found, beyond=bound),
                f"{first} − {second}, task score, points, mean over {' and '.join(outcomes.tasks)}",
                found,
                f"interval above {bound:g}".replace("-", "−"),
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Tables, bars and claims."""
    text = (
        "What later work proposes, under the same steps, batches and tests. The measured scores have units of their "
        "own, so each selects as many experts as the others: six in every layer. Averaging by samples differs from "
        "averaging by tokens only where packed rows differ in length. One seed."
    )
    figure = bars(outcomes, TASK, list(outcomes.rows), "task score")
    return Section(
        NAME,
        "Beyond the paper",
        "",
        text,
        command,
        training.provenance(outcomes),
        [score_table(outcomes), overlap_table(outcomes)],
        [Figure(NAME, figure, "Task score by what is selected and how it trains")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
