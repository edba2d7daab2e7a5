"""How much must be trained? ESFT's threshold p against LoRA's rank (the paper's Fig. 6).

python -m experiments.threshold_and_rank --jobs 2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.comparison import RunResult
from esft_lightning.comparison.table import quantity
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_equality
from experiments import training
from experiments.charts import lines
from experiments.drawing import new_figure
from experiments.outcomes import ABILITY, TASK, Outcomes, cell, experts_per_layer, number

NAME = "threshold_and_rank"
FAMILIES = ("ESFT-Token", "ESFT-Gate", "random", "LoRA")
MARGIN = 5.0
"""Points within which a larger p changes nothing: one test row in twenty."""


def family(label: str) -> str:
    """The strategy of a label such as `ESFT-Token p=0.2`."""
    return label.rpartition(" ")[0]


def size(label: str) -> float:
    """p, or the rank."""
    return float(label.rpartition("=")[2])


def trained(run: RunResult) -> float:
    """Trained parameters of a run."""
    return float(run.parameters.get("trained", 0))


def sweep_table(outcomes: Outcomes) -> ResultTable:
    """Label → experts a layer, parameters, task score and general ability on each task."""
    rows = []
    for label in outcomes.labels:
        parameters = outcomes.mean(trained, label)
        experts = None if family(label) == "LoRA" else outcomes.mean(experts_per_layer, label)
        cells = [cell(outcomes.spread(measure, label, task)) for task in outcomes.tasks for measure in (TASK, ABILITY)]
        rows.append([label, number(experts), "–" if parameters is None else quantity(parameters), *cells])
    heads = [f"{task}: {what}" for task in outcomes.tasks for what in ("score", "general")]
    caption = "scores 0–100; experts of a layer and trained parameters: means over tasks"
    return ResultTable(NAME, caption, ("setting", "experts a layer", "parameters", *heads), rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """Beyond the paper's p, more experts gain little."""
    claims = []
    for name, start in (("ESFT-Token", 0.2), ("ESFT-Gate", 0.1)):
        labels = sorted((label for label in outcomes.labels if family(label) == name), key=size)
        if not labels or not any(size(label) == start for label in labels):
            continue
        first = next(label for label in labels if size(label) == start)
        gain = outcomes.difference(TASK, labels[-1], first)
        claims.append(
            Claim(
                "The score saturates in p",
                "Fig. 6",
                judge_equality(gain, margin=MARGIN),
                f"{labels[-1]} − {first}, task score, points, mean over {' and '.join(outcomes.tasks)}",
                gain,
                f"interval within ±{MARGIN:g} points",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Table, curves and claims."""
    figure = new_figure(4.4 * len(outcomes.tasks) + 1.6, 6.2)
    axes = figure.subplots(2, len(outcomes.tasks), squeeze=False)
    for column, task in enumerate(outcomes.tasks):
        for line, measure in enumerate((TASK, ABILITY)):
            points = {
                name: [
                    (trained(run), spread.mean)
                    for label in outcomes.labels
                    if family(label) == name
                    and (run := outcomes.first(label, task)) is not None
                    and (spread := outcomes.spread(measure, label, task)) is not None
                ]
                for name in FAMILIES
            }
            axis = axes[line][column]
            lines(axis, points, "trained parameters" if line else "", measure.name, logarithmic=True)
            axis.set_title(task if not line else "")
    axes[0][0].legend(fontsize=8, frameon=False)
    text = (
        "ESFT's threshold p and LoRA's rank both say how much trains; here they share an axis, the number of trained "
        "parameters. One rate for each strategy, that of its default setting. Random: as many experts as ESFT-Token "
        "has at that p."
    )
    return Section(
        NAME,
        "How much must be trained?",
        "Fig. 6",
        text,
        command,
        training.provenance(outcomes),
        [sweep_table(outcomes)],
        [Figure(NAME, figure, "Task score (above) and general ability (below) against trained parameters")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the table, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
