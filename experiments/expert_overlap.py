"""Do tasks use different experts? Shared top-k experts between tasks (the paper's Fig. 3), beside two nulls.

    python -m experiments.expert_overlap [--routing-logs DIR]

Two samples of every task are profiled. On the diagonal stands how many of a layer's top-k experts two samples of one
task share, elsewhere what two tasks share, mean over layers; chance is k²/E. Experts are ranked by mean gate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from esft_lightning.affinity import chance_overlap, overlap_matrix, top_expert_overlap
from esft_lightning.publication import (
    Claim,
    Figure,
    Interval,
    ResultTable,
    Section,
    judge_difference,
    mean_interval,
)
from experiments import routing
from experiments.drawing import heat, new_figure

NAME = "expert_overlap"


def matrix_of(measured: routing.Measured) -> tuple[list[str], np.ndarray]:
    """Tasks, and the shared top-k experts between them, [N, N]."""
    first, second = (
        {task: profile.scores("gate", normalize=True) for task, profile in measured.full(half).items()}
        for half in (0, 1)
    )
    return overlap_matrix(first, second, measured.top_k)


def pair_overlaps(measured: routing.Measured) -> np.ndarray:
    """Shared top-k experts of every pair of tasks in every layer, mean of both ways to pair their samples, flat."""
    k = measured.top_k
    first, second = ({task: profile.scores("gate") for task, profile in measured.full(half).items()} for half in (0, 1))

    def shared(one: str, other: str, layer: int) -> float:
        return top_expert_overlap(first[one][layer : layer + 1], second[other][layer : layer + 1], k)

    return np.array(
        [
            (shared(one, other, layer) + shared(other, one, layer)) / 2
            for one, other in combinations(first, 2)
            for layer in range(len(first[one]))
        ]
    )


def split_means(matrix: np.ndarray) -> tuple[float, float]:
    """Mean within a task (the diagonal), and between tasks."""
    return float(matrix.diagonal().mean()), float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def claims_of(measured: Sequence[routing.Measured]) -> list[Claim]:
    """Experts differ between tasks: beyond both nulls for the model, beyond chance for logs."""
    trained = measured[0]
    pairs = pair_overlaps(trained)
    claims = []
    for null in (entry for entry in measured if entry.is_null):
        difference = mean_interval(pair_overlaps(null) - pairs)
        claims.append(
            Claim(
                "Experts differ between tasks",
                "Fig. 3",
                judge_difference(difference),
                f"shared top-{trained.top_k} experts of two tasks, {null.model} − {trained.model}",
                difference,
                f"interval over pairs and layers above 0; null: {null.model}",
            )
        )
    for logged in (entry for entry in measured[1:] if not entry.is_null):
        shared = mean_interval(pair_overlaps(logged))
        chance = chance_overlap(logged.top_k, logged.num_experts)
        away = Interval(shared.mean - chance, shared.low - chance, shared.high - chance, shared.count)
        claims.append(
            Claim(
                "Two tasks share no more experts than chance",
                "Fig. 3",
                judge_difference(Interval(-away.mean, -away.high, -away.low, away.count)),
                f"chance {chance:.2f} − shared top-{logged.top_k} experts, {logged.model}",
                Interval(-away.mean, -away.high, -away.low, away.count),
                "interval over pairs and layers above 0; logs come without weights, so there is no null but chance",
            )
        )
    return claims


def section_of(measured: Sequence[routing.Measured], command: str) -> Section:
    """Table, matrices and claims."""
    rows, matrices = [], []
    for entry in measured:
        tasks, matrix = matrix_of(entry)
        matrices.append((entry, tasks, matrix))
        within, between = split_means(matrix)
        mass = np.mean([profile.gate_mass().mean() for profile in entry.full(0).values()])
        chance = chance_overlap(entry.top_k, entry.num_experts)
        rows.append([entry.model, f"{within:.2f}", f"{between:.2f}", f"{chance:.2f}", f"{mass:.2f}"])
    k = measured[0].top_k
    columns = ("model", "within a task", "between tasks", "chance", "gates sum to")
    table = ResultTable(NAME, f"shared top-{k} experts, mean over layers; experts ranked by mean gate", columns, rows)
    figure = new_figure(3.9 * len(measured) + 0.8, 4.2)
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    image = None
    for axis, (entry, tasks, matrix) in zip(axes, matrices, strict=True):
        image = heat(axis, matrix, tasks, tasks, 0, entry.top_k)
        within, between = split_means(matrix)
        axis.set_title(f"{entry.model}\nwithin {within:.2f}, between {between:.2f}", fontsize=10)
        axis.set_aspect("equal")
    if image is not None:
        figure.colorbar(image, ax=list(axes), shrink=0.8, label=f"shared experts of the top {k}")
    text = (
        "Two independent samples of every task are profiled; a cell counts the experts that the top "
        f"{k} of two samples share, mean over layers. Tasks differ in their tokens, so that a router that learned "
        "nothing shows the picture too: the nulls, one draw of each, say how much of it."
    )
    return Section(
        NAME,
        "Do tasks use different experts?",
        "Fig. 3",
        text,
        command,
        routing.provenance(measured),
        [table],
        [Figure(NAME, figure, f"Shared top-{k} experts between tasks: {', '.join(e.model for e in measured)}")],
        claims_of(measured),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the section."""
    return routing.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
