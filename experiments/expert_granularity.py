"""Do finer experts help? Experts bound in groups of 1, 2 and 4 by co-activation (the paper's Fig. 7).

    python -m experiments.expert_granularity --jobs 2

Binding experts changes the base, too: tokens go to whole groups. So each group size has a base of its own, and what is
compared is how much each strategy loses from groups of 1 to groups of 4.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
from experiments.charts import lines
from experiments.drawing import new_figure
from experiments.outcomes import ABILITY, TASK, Outcomes, experts_per_layer, number
from experiments.training_settings import VANILLA

NAME = "expert_granularity"


def strategy_of(label: str) -> str:
    """The strategy of a label such as `FFT, groups of 2`."""
    return label.partition(", ")[0]


def group_size(run: RunResult) -> int:
    """Experts of a group."""
    return int(run.spec.model.get("expert_group_size", 1))


def by_size(outcomes: Outcomes, strategy: str, task: str) -> dict[int, RunResult]:
    """Group size → a strategy's run with the lowest seed; `VANILLA` gives the bases."""
    labels = [VANILLA] if strategy == VANILLA else [n for n in outcomes.labels if strategy_of(n) == strategy]
    runs = [run for label in labels for run in outcomes.of(label, task)]
    return {group_size(run): run for run in sorted(runs, key=lambda run: (group_size(run), -run.spec.seed))}


def granularity_table(outcomes: Outcomes) -> ResultTable:
    """Strategy × group size: trained experts, task score and general ability of each task."""
    rows = []
    for strategy in (VANILLA, *dict.fromkeys(map(strategy_of, outcomes.labels))):
        sizes = sorted({size for task in outcomes.tasks for size in by_size(outcomes, strategy, task)})
        for size in sizes:
            runs = [by_size(outcomes, strategy, task).get(size) for task in outcomes.tasks]
            experts = [experts_per_layer(run) for run in runs if run is not None and run.selected_experts]
            cells = [number(None if run is None else measure.of(run)) for run in runs for measure in (TASK, ABILITY)]
            rows.append([f"{strategy}, groups of {size}", number(float(np.mean(experts)) if experts else None), *cells])
    heads = [f"{task}: {what}" for task in outcomes.tasks for what in ("score", "general")]
    caption = "scores 0–100; trained experts of a layer, mean over tasks and layers"
    return ResultTable(NAME, caption, ("strategy", "experts a layer", *heads), rows)


def extra_loss(outcomes: Outcomes, strategy: str, against: str = "FFT") -> Interval | None:
    """What a strategy loses from the finest to the coarsest groups, less what another loses; points, mean over tasks.

    Rows are resampled together for the four runs of a task.
    """
    pairs = []
    for task in outcomes.tasks:
        ours, theirs = (by_size(outcomes, name, task) for name in (strategy, against))
        sizes = sorted(set(ours) & set(theirs))
        if len(sizes) > 1:
            fine, coarse = sizes[0], sizes[-1]
            pairs.append(
                tuple(np.subtract(found[fine].rows["task"], found[coarse].rows["task"]) for found in (ours, theirs))
            )
    return stratified_difference(pairs).scaled(100) if pairs else None


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT suffers more from coarse experts than full fine-tuning does."""
    claims = []
    for strategy in ("ESFT-Token", "ESFT-Gate"):
        lost = extra_loss(outcomes, strategy)
        claims.append(
            Claim(
                "Finer experts help ESFT more than full fine-tuning",
                "Fig. 7",
                judge_difference(lost),
                f"loss of task score from groups of 1 to the largest, {strategy} − FFT, points, mean over tasks",
                lost,
                "interval over test rows above 0",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Table, curves and claims."""
    figure = new_figure(4.2 * len(outcomes.tasks) + 1.6, 3.6)
    axes = figure.subplots(1, len(outcomes.tasks), squeeze=False)[0]
    for axis, task in zip(axes, outcomes.tasks, strict=True):
        names = (VANILLA, *dict.fromkeys(map(strategy_of, outcomes.labels)))
        found = {
            name: [
                (float(size), score)
                for size, run in by_size(outcomes, name, task).items()
                if (score := TASK.of(run)) is not None
            ]
            for name in names
        }
        lines(axis, found, "experts of a group", "task score", logarithmic=True)
        axis.set_xticks([1, 2, 4], ["1", "2", "4"])
        axis.set_title(task)
    axes[0].legend(fontsize=8, frameon=False)
    text = (
        "Experts that often serve the same token are bound together, by the cosine of their co-activation counts "
        "over general text; a router then chooses whole groups, of as many experts in all, and ESFT selects whole "
        "groups."
    )
    return Section(
        NAME,
        "Do finer experts help?",
        "Fig. 7",
        text,
        command,
        training.provenance(outcomes),
        [granularity_table(outcomes)],
        [Figure(NAME, figure, "Task score against the size of the groups")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the table, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
