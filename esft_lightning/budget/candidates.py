"""Which strategies are set side by side, and the experts that ESFT trains in them: given, selected, or assumed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import PreTrainedModel

from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.errors import SettingError
from esft_lightning.moe import find_moe_layers
from esft_lightning.strategies import (
    ESFT,
    ESFTGate,
    ESFTToken,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    group_parameters,
)

ASSUMED_SHARE = 0.075
"""Share of a layer's experts that is trained where nothing is known: the paper's intent task, 4.77 of 64."""


@dataclass(frozen=True)
class Candidate:
    """A strategy to reckon with.

    Attributes:
        label: How tables name it.
        strategy: The strategy itself.
        selection: The experts that it trains, where it selects.
        row_shares: Decoder layer → share of a batch's rows (tokens × experts chosen) that hit its trained experts.
        unfused_rank: For LoRA, show the paper's unfused arithmetic of this rank besides.
    """

    label: str
    strategy: FineTuningStrategy
    selection: ExpertSelection | None = None
    row_shares: Mapping[int, float] = field(default_factory=dict)
    unfused_rank: int | None = None


@dataclass(frozen=True)
class ChosenExperts:
    """Experts for ESFT rows, with where they come from.

    Attributes:
        label: Says so in tables.
        selection: The experts.
        row_shares: As `Candidate.row_shares`.
    """

    label: str
    selection: ExpertSelection
    row_shares: Mapping[int, float]


def selected_experts(profile: AffinityProfile, top_p: Sequence[float] = ()) -> list[ChosenExperts]:
    """ESFT-Token's and ESFT-Gate's experts, with the rows that they got while the profile was made.

    Args:
        profile: Affinity of the model's experts to a task.
        top_p: Thresholds of both scores; none takes the paper's (token 0.2, gate 0.1).
    """
    found = []
    for strategy in (ESFTToken, ESFTGate):
        for p in top_p or (strategy().top_p,):
            selection = strategy(top_p=p).select(profile)
            found.append(ChosenExperts(f"{strategy.__name__} p={p:g}", selection, profiled_shares(profile, selection)))
    return found


def configured_experts(
    path: str | Path, model: PreTrainedModel, profile: AffinityProfile | None = None, row_share: float | None = None
) -> ChosenExperts:
    """The experts of an `expert_cfg.json`.

    Args:
        path: The file.
        model: What they are experts of.
        profile: Shows how many rows they get; without it, routing is taken to be balanced.
        row_share: Share of rows to take instead.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not such a file, or names experts that the model does not have.
    """
    selection = ExpertSelection.load(path)
    _check_fits(selection, model, path)
    if profile is not None and row_share is None:
        shares = profiled_shares(profile, selection)
    else:
        shares = _assumed_shares(model, selection, row_share)
    return ChosenExperts(f"ESFT {Path(path).name}", selection, shares)


def assumed_experts(
    model: PreTrainedModel, per_layer: int | None = None, row_share: float | None = None
) -> ChosenExperts:
    """As many experts in every layer, where neither a profile nor a selection is there.

    Args:
        model: What they are experts of.
        per_layer: How many; None takes the paper's share (`ASSUMED_SHARE`), at least one.
        row_share: Share of rows that hit them; None takes routing to be balanced.

    Raises:
        ValueError: If a layer has not that many.
    """
    layers = {entry.layer: entry.num_experts for entry in find_moe_layers(model)}
    fewest = min(layers.values())
    count = max(1, round(ASSUMED_SHARE * fewest)) if per_layer is None else per_layer
    if not 1 <= count <= fewest:
        raise SettingError(
            f"--experts-per-layer {count} is out of range; expected 1 to {fewest}, the experts of a layer"
        )
    selection = ExpertSelection({layer: list(range(count)) for layer in layers})
    return ChosenExperts(f"ESFT {count}/{fewest} assumed", selection, _assumed_shares(model, selection, row_share))


def candidates(model: PreTrainedModel, chosen: Sequence[ChosenExperts], ranks: Sequence[int] = (8,)) -> list[Candidate]:
    """The rows of the tables.

    Args:
        model: Frozen; shared experts are looked for in it.
        chosen: Experts of the ESFT rows; the first ones are shown with the other parts of the paper's Table 3 besides.
        ranks: Ranks of LoRA.

    Raises:
        ValueError: If experts are named that the model does not have.
    """
    for experts in chosen:
        _check_fits(experts.selection, model, experts.label)
    rows = [Candidate("FullFineTuning", FullFineTuning())]
    rows += [Candidate(f"LoRA r={rank}", LoRA(rank), unfused_rank=rank) for rank in ranks]
    rows.append(Candidate("FrozenExperts", FrozenExperts()))
    shared = "shared experts" in set(group_parameters(model).values())
    for number, experts in enumerate(chosen):
        plain = replace(experts.selection, shared_experts=False, non_expert_modules=False)
        given = experts.selection.shared_experts, experts.selection.non_expert_modules
        variants = {given} if number else {(False, False), (shared, False), (shared, True), given}
        for with_shared, with_others in sorted(variants):
            label = experts.label + " + shared" * with_shared + " + non-expert" * with_others
            selection = replace(plain, shared_experts=with_shared, non_expert_modules=with_others)
            rows.append(Candidate(label, ESFT(), selection, experts.row_shares))
    if shared:
        rows.append(Candidate("shared experts only", ESFT(routed_experts=False, shared_experts=True)))
    return rows


def profiled_shares(profile: AffinityProfile, selection: ExpertSelection) -> dict[int, float]:
    """Share of a layer's rows that the selected experts got while the profile was made.

    Layers that train as many experts are given their mean, so that they cost the same and are measured once.

    Raises:
        ValueError: If the selection does not fit the profile.
    """
    selection.check_fits(profile.layers, profile.num_experts)
    row = {layer: number for number, layer in enumerate(profile.layers)}
    alike: dict[int, list[float]] = defaultdict(list)
    for layer, ids in selection.experts.items():
        alike[len(ids)].append(float(profile.token_count[row[layer], ids].sum() / (profile.tokens * profile.top_k)))
    return {layer: sum(alike[len(ids)]) / len(alike[len(ids)]) for layer, ids in selection.experts.items()}


def balanced_shares(model: PreTrainedModel, selection: ExpertSelection) -> dict[int, float]:
    """Share of a layer's rows that the selected experts get if every expert gets as many."""
    layers = {entry.layer: entry.num_experts for entry in find_moe_layers(model)}
    return {layer: len(ids) / layers[layer] for layer, ids in selection.experts.items()}


def _check_fits(selection: ExpertSelection, model: PreTrainedModel, origin: object) -> None:
    """Refuse experts that the model does not have, naming where they come from."""
    layers = {entry.layer: entry.num_experts for entry in find_moe_layers(model)}
    try:
        selection.check_fits(list(layers), min(layers.values()))
    except ValueError as error:
        raise SettingError(f"{origin}: {error}") from error


def _assumed_shares(model: PreTrainedModel, selection: ExpertSelection, row_share: float | None) -> dict[int, float]:
    if row_share is None:
        return balanced_shares(model, selection)
    if not 0 <= row_share <= 1:
        raise SettingError(f"--trained-rows {row_share:g} is out of range; expected a share, 0 to 1")
    return dict.fromkeys(selection.experts, row_share)
