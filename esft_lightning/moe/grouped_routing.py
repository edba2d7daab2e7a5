"""Routing to groups of experts: a change of an opened model that can be taken back.

For every token the groups with the highest mean router probability are active, with all their members; a member's gate
is its own router probability (times the router's scaling factor; where the router makes the gates of a token sum to one
constant, so are these). The change is made where routing reaches `experts(hidden_states, top_k_index, top_k_weights)`,
so the routing tap and two-bank experts see the new routing. No weight is touched.

Shapes: `T` tokens, `K` experts per token, `E` routed experts, `G` groups of a layer. Knows nothing of how experts are
grouped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esft_lightning.errors import SettingError, UserError
from esft_lightning.moe.discovery import MoELayer, find_moe_layers
from esft_lightning.moe.router_traits import FUNCTIONS, RouterTraits, router_scores, router_traits

ACTIVE_SHARE = 8
"""One in this many experts stays active, at every group size (the paper's Fig. 7)."""


class GroupedRoutingError(UserError, ValueError):
    """The model's routers lack what routing to groups needs."""


class _GroupedLayer:
    """The two hooks of one layer; a class, so that a copied model has hooks of its own."""

    def __init__(self, members: Tensor, active_groups: int, traits: RouterTraits) -> None:
        self.members = members  # [G, size]
        self.active_groups = active_groups
        self.traits = traits
        self.scores: Tensor | None = None

    def catch(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.scores = router_scores(output, self.members.numel())

    def reroute(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        scores, self.scores = self.scores, None
        if scores is None:
            raise RuntimeError(f"the router {self.traits.router} was not called before its experts")
        self.members = self.members.to(scores.device)
        gates = args[2] if len(args) > 2 else kwargs["top_k_weights"]
        index, weights = group_routing(scores, self.members, self.active_groups, self.traits)
        new = {"top_k_index": index, "top_k_weights": weights.to(gates.dtype)}
        kept = {name: value for name, value in kwargs.items() if name not in new}
        given = [new[name] for name in ("top_k_index", "top_k_weights")]
        return (args[0], *given, *args[3:]) if args else (), kept if args else {**kept, **new}


@dataclass
class GroupedRouting:
    """Grouped routing as it is installed: kept on the model as `_esft_grouped_routing`.

    Attributes:
        groups: Layer number → groups of expert ids.
        active_experts: Experts that are active for a token.
        handles: The hooks.
    """

    groups: dict[int, list[list[int]]]
    active_experts: int
    handles: list[Any]

    @property
    def digest(self) -> str:
        """Names the groups and how many experts are active."""
        content = json.dumps([sorted(self.groups.items()), self.active_experts])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def group_routing(scores: Tensor, members: Tensor, active_groups: int, traits: RouterTraits) -> tuple[Tensor, Tensor]:
    """Route tokens to groups.

    Args:
        scores: What the router returned, `[T, E]`.
        members: Expert ids of each group, `[G, size]`.
        active_groups: Groups that are active for a token.
        traits: How scores become gates.

    Returns:
        Experts `[T, active_groups * size]` and their gates, float32.
    """
    if traits.function is None or traits.scale is None:
        raise GroupedRoutingError(f"{traits.router}: its gates follow from no known function of its scores")
    probabilities = FUNCTIONS[traits.function](scores)
    of_groups = probabilities[:, members.reshape(-1)].view(len(scores), *members.shape).mean(-1)
    chosen = of_groups.topk(active_groups, dim=-1).indices
    index = members[chosen].reshape(len(scores), -1)
    gates = probabilities.gather(1, index)
    if traits.renormalized:
        gates = gates / gates.sum(-1, keepdim=True)
    return index, gates * traits.scale


def install_grouped_routing(
    model: Any, groups: Mapping[int, Sequence[Sequence[int]]], active_experts: int | None = None
) -> GroupedRouting:
    """Route to groups of experts from here on.

    Args:
        model: A Transformers MoE causal LM.
        groups: Layer number → groups of equal size that hold every expert once; for all MoE layers.
        active_experts: Experts active for a token, in whole groups; None takes one in eight, as in the paper.

    Returns:
        What is installed.

    Raises:
        ValueError: Groups that do not fit the model, or an active number that is no whole number of groups.
        GroupedRoutingError: The family's router probabilities cannot be had; the missing trait is named.
    """
    if grouped_routing(model) is not None:
        raise ValueError("the model already routes to groups; call remove_grouped_routing(model) first")
    layers = find_moe_layers(model)
    size = _check_groups(layers, groups)
    active = max(1, layers[0].num_experts // ACTIVE_SHARE) if active_experts is None else active_experts
    if active < size or active % size or active > layers[0].num_experts:
        raise SettingError(
            f"{active} active experts are no whole number of groups of {size} (of {layers[0].num_experts} experts); "
            "choose other groups or active_experts"
        )
    traits = _groupable_traits(model)
    handles = []
    for entry in layers:
        members = torch.tensor([sorted(group) for group in groups[entry.layer]], device=_device(entry))
        layer = _GroupedLayer(members, active // size, traits[entry.layer])
        handles.append(model.get_submodule(traits[entry.layer].router).register_forward_hook(layer.catch))
        # First of all hooks: whoever listens to the call hears the new routing.
        handles.append(entry.experts.register_forward_pre_hook(layer.reroute, prepend=True, with_kwargs=True))
    plain = {entry.layer: [sorted(map(int, group)) for group in groups[entry.layer]] for entry in layers}
    state = GroupedRouting(plain, active, handles)
    object.__setattr__(model, "_esft_grouped_routing", state)
    return state


def remove_grouped_routing(model: Any) -> None:
    """Route as the model itself does again; without grouped routing, nothing happens."""
    state = grouped_routing(model)
    if state is not None:
        for handle in state.handles:
            handle.remove()
        del model._esft_grouped_routing


def grouped_routing(model: Any) -> GroupedRouting | None:
    """The grouped routing that is installed on a model, if any."""
    return getattr(model, "_esft_grouped_routing", None)


@contextmanager
def routed_to_groups(
    model: Any, groups: Mapping[int, Sequence[Sequence[int]]], active_experts: int | None = None
) -> Iterator[GroupedRouting]:
    """`install_grouped_routing` for the length of a `with` block."""
    try:
        yield install_grouped_routing(model, groups, active_experts)
    finally:
        remove_grouped_routing(model)


def _groupable_traits(model: nn.Module) -> dict[int, RouterTraits]:
    """The traits of every layer's router, after checking that groups can be chosen by its scores.

    Raises:
        GroupedRoutingError: Naming the layer and what is missing.
    """
    found = router_traits(model)
    for layer, traits in found.items():
        if traits.function is not None and traits.scale is not None and traits.plain_top_k:
            continue
        missing = (
            "a router whose choices and gates follow from one probability per expert (top-k of softmax or sigmoid; no "
            "limit to groups of experts, no correction bias)"
            if traits.router
            else "a router module beside the experts that returns one score per expert"
        )
        raise GroupedRoutingError(f"layer {layer}: routing to groups needs {missing}; this model has none")
    return found


def _check_groups(layers: Sequence[MoELayer], groups: Mapping[int, Sequence[Sequence[int]]]) -> int:
    """The size of the groups, after checking that they fit."""
    expected = [entry.layer for entry in layers]
    if sorted(groups) != expected:
        raise ValueError(f"groups are given for layers {sorted(groups)}; this model's MoE layers are {expected}")
    sizes = {len(group) for of_layer in groups.values() for group in of_layer}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"groups have sizes {sorted(sizes)}; expected one size for all")
    for entry in layers:
        members = sorted(expert for group in groups[entry.layer] for expert in group)
        if members != list(range(entry.num_experts)):
            raise ValueError(
                f"layer {entry.layer}: the groups do not hold each of its {entry.num_experts} experts once"
            )
    return sizes.pop()


def _device(entry: MoELayer) -> torch.device:
    return entry.experts.get_parameter("down_proj").device
