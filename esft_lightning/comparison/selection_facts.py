"""Which experts the runs trained, and how much selections overlap, beside what chance would give.

Two selections of n and m out of E experts that know nothing of each other share n·m/E on average (hypergeometric mean).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.summary import Spread, Summary
from esft_lightning.errors import SettingError


@dataclass(frozen=True)
class Overlap:
    """How many experts of a layer two selections share, mean over layers.

    Attributes:
        first: What the one selection is for.
        second: What the other is for.
        shared: Experts in both.
        chance: What unrelated selections of these sizes would share.
    """

    first: str
    second: str
    shared: float
    chance: float


def experts_per_layer(row: Summary) -> Spread | None:
    """Selected experts of a layer, mean over layers; None where the strategy selects none."""
    return Spread.of(
        sum(map(len, result.selected_experts.values())) / len(result.selected_experts)
        for result in row.finished
        if result.selected_experts
    )


def overlap(
    first: Mapping[str, Sequence[int]], second: Mapping[str, Sequence[int]], experts: int
) -> tuple[float, float]:
    """Shared experts of a layer and their number by chance, means over the layers that both selections have.

    Args:
        first: Layer → expert ids.
        second: The same of another selection.
        experts: Routed experts of a layer.

    Raises:
        ValueError: If they have no layer in common.
    """
    layers = sorted(set(first) & set(second))
    if not layers:
        raise SettingError("the selections have no layer in common")
    shared = sum(len(set(first[layer]) & set(second[layer])) for layer in layers)
    chance = sum(len(first[layer]) * len(second[layer]) / experts for layer in layers)
    return shared / len(layers), chance / len(layers)


def task_overlaps(results: Sequence[RunResult], strategy: str) -> list[Overlap]:
    """How much one strategy's selections for different tasks overlap, at the lowest seed.

    Args:
        results: Results of any grid.
        strategy: The strategy's name.

    Returns:
        One entry a pair of tasks.
    """
    chosen: dict[str, RunResult] = {}
    for result in sorted(results, key=lambda result: result.spec.seed):
        if result.finished and result.selected_experts and result.spec.name == strategy:
            chosen.setdefault(result.spec.task, result)
    found = []
    for first, second in combinations(chosen, 2):
        one, other = chosen[first], chosen[second]
        experts = one.affinity.get("num_experts", 0)
        if experts and set(one.selected_experts) & set(other.selected_experts):
            found.append(Overlap(first, second, *overlap(one.selected_experts, other.selected_experts, experts)))
    return found
