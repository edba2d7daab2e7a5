"""Is routing concentrated on few experts, and on a task's own? (the paper's Fig. 2), beside two nulls.

    python -m experiments.routing_concentration [--routing-logs DIR]

For each task the experts of a layer are sorted by their share of the gates; a line is the mean over layers, the band
reaches from the least to the most concentrated layer. Since routers that learned nothing concentrate, too (hidden
states share a direction, so that every task goes to the same experts), a second measure says how much of a task's gates
lies on its own top-k experts beyond what the other tasks put there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from esft_lightning.affinity import gate_concentration, specific_mass, top_mass
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference, mean_interval
from experiments import routing
from experiments.drawing import new_figure, panels, task_colors

NAME = "routing_concentration"


def specific(measured: routing.Measured) -> tuple[np.ndarray, np.ndarray]:
    """Own and others' share on a task's top-k experts, [tasks, L] each (see `specific_mass`)."""
    first, second = ({task: profile.scores("gate") for task, profile in measured.full(half).items()} for half in (0, 1))
    own, others = specific_mass(first, second, measured.top_k)
    return np.array(list(own.values())), np.array(list(others.values()))


def shares(measured: routing.Measured, task: str) -> tuple[float, float]:
    """Share of the gates on the strongest expert and on the top k, mean over layers, all tokens of the task."""
    scores = measured.whole()[task].scores("gate")
    return float(top_mass(scores, 1).mean()), float(top_mass(scores, measured.top_k).mean())


def claims_of(measured: Sequence[routing.Measured]) -> list[Claim]:
    """Concentration on a task's own experts, against each null; for logs, which have none, against 0."""
    trained = measured[0]
    own, others = specific(trained)
    claims = []
    for entry in measured[1:]:
        null_own, null_others = specific(entry)
        if entry.is_null:
            difference = mean_interval((own - others) - (null_own - null_others)).scaled(100)
            effect, null = f"own − others' share, {trained.model} − {entry.model}, points", f"null: {entry.model}"
        else:
            difference = mean_interval(null_own - null_others).scaled(100)
            effect, null = f"own − others' share, {entry.model}, points", "logs have no untrained null: against 0"
        claims.append(
            Claim(
                "Routing is concentrated on experts of the task",
                "Fig. 2",
                judge_difference(difference),
                effect,
                difference,
                f"interval over tasks and layers above 0; {null}",
            )
        )
    return claims


def section_of(measured: Sequence[routing.Measured], command: str) -> Section:
    """Table, curves and claims."""
    k = measured[0].top_k
    rows: list[list[str]] = []
    groups: dict[int, str] = {}
    for entry in measured:
        own, others = specific(entry)
        groups[len(rows)] = entry.model
        found = [shares(entry, task) for task in entry.tasks]
        table = np.column_stack([np.array(found), own.mean(1), others.mean(1), (own - others).mean(1)])
        for name, values in [*zip(entry.tasks, table, strict=True), ("mean", table.mean(0))]:
            rows.append([name, *(f"{value:.3f}" for value in values)])
    columns = ("task", "top 1", f"top {k}", "own share", "others' share", "difference")
    caption = (
        f"share of a layer's gates on the strongest experts, mean over layers; own and others' share: on the top {k} "
        "experts of an independent sample of the task"
    )
    figure = new_figure(4.2 * min(len(measured), 4), 3.9)
    colors = task_colors(measured[0].tasks)
    most = max(gate_concentration(q.scores("gate")).max() for entry in measured for q in entry.whole().values())
    for axis, entry in zip(panels(figure, len(measured), 4), measured, strict=True):
        ranks = np.arange(1, entry.num_experts + 1)
        for task in entry.tasks:
            color = colors.get(task)
            curve = gate_concentration(entry.whole()[task].scores("gate"))
            axis.plot(ranks, curve.mean(0), color=color, label=task, linewidth=1.4)
            axis.fill_between(ranks, curve.min(0), curve.max(0), color=color, alpha=0.12, linewidth=0)
        axis.axhline(1 / entry.num_experts, color="0.5", linestyle=":", linewidth=1, label="uniform")
        axis.set_xscale("log", base=2)
        axis.set_ylim(0, most)
        axis.set_xlabel("rank of the expert")
        axis.set_title(entry.model, fontsize=10)
        axis.legend(fontsize=7, frameon=False)
    figure.axes[0].set_ylabel("share of the layer's gates")
    return Section(
        NAME,
        "Is routing concentrated?",
        "Fig. 2",
        "Experts sorted by their share of a task's gates. Concentration alone is no sign of learning: see the nulls. "
        "The last column is what belongs to the task: its own share less that of the other tasks on the same experts.",
        command,
        routing.provenance(measured),
        [ResultTable(NAME, caption, columns, rows, groups)],
        [Figure(NAME, figure, f"Share of the gates by rank of the expert: {', '.join(e.model for e in measured)}")],
        claims_of(measured),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the section."""
    return routing.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
