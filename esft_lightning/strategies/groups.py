"""Which part of an MoE model a parameter belongs to, and how much of each part trains.

Families name their modules differently, so a parameter's place in the model decides first (inside the experts module,
beside it in the MoE block, the model's own embeddings), and its name only among what remains. What lies outside the
text decoder and its head (vision and audio towers, projectors) is one part, `encoders`: text gives it no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from torch import nn
from transformers import PreTrainedModel

from esft_lightning.moe import MoELayer, find_decoder, find_moe_layers, full_shape

Group = Literal[
    "routed experts",
    "shared experts",
    "router",
    "attention",
    "dense MLP",
    "norms",
    "embeddings",
    "head",
    "encoders",
    "other",
]
GROUPS: tuple[Group, ...] = get_args(Group)

_MIXERS = ("attn", "attention", "mixer", "mamba", "conv", "ssm", "recurrent")
_DENSE = ("mlp", "feed_forward", "ffn")


class GroupCount(NamedTuple):
    """One row of the training table.

    Attributes:
        group: The part of the model.
        total: Parameters that the base has in it.
        trained: Parameters that train in it: base parameters, trained banks, or LoRA factors.
    """

    group: Group
    total: int
    trained: int


def group_parameters(model: PreTrainedModel) -> dict[str, Group]:
    """Name the part of the model that each parameter belongs to.

    Adapter parameters (trained banks, LoRA factors) belong to the part that they adapt.

    Args:
        model: A loaded MoE model, adapted or not.

    Returns:
        Parameter name (as in `named_parameters`) to group.
    """
    layers = find_moe_layers(model)
    blocks = {entry.block_name: entry for entry in layers}
    embedding = getattr(model.get_input_embeddings(), "weight", None)
    head = getattr(model.get_output_embeddings(), "weight", None)
    routers = {name for entry in layers for name in _routers(model, entry)}
    owner_of_layers = find_decoder(model)
    decoder = next((name for name, module in model.named_modules() if module is owner_of_layers), "")
    norms = {name for name, module in model.named_modules() if "norm" in type(module).__name__.lower()}
    groups: dict[str, Group] = {}
    for name, parameter in model.named_parameters():
        # The base parameter's own name: without peft's wrappers and factors, without our bank.
        place = name.replace(".base_layer", "").split(".lora_")[0].replace(".trained_bank", "") + "."
        owner = name.rpartition(".")[0]
        around = _around(place)
        entry = next((blocks[prefix] for prefix in around if prefix in blocks), None)
        if entry is not None and place.startswith(f"{entry.name}."):
            groups[name] = "routed experts"
        elif parameter is embedding:
            groups[name] = "embeddings"
        elif parameter is head:
            groups[name] = "head"
        elif decoder and not place.startswith(f"{decoder}."):
            groups[name] = "encoders"
        elif not routers.isdisjoint(around):
            groups[name] = "router"
        elif owner in norms:
            groups[name] = "norms"
        elif entry is not None and not entry.block_name.endswith(f".{entry.layer}"):
            groups[name] = "shared experts"
        else:
            groups[name] = _group_by_name(place)
    return groups


def _around(place: str) -> list[str]:
    """Dotted names of the modules that a parameter stands in: 'a.b.c.' → 'a', 'a.b', 'a.b.c'."""
    return [place[:end] for end, character in enumerate(place) if character == "."]


def _routers(model: nn.Module, entry: MoELayer) -> list[str]:
    """Names of the routers beside the experts: so named, or with one row per expert in every parameter."""
    block = model.get_submodule(entry.block_name)
    found = []
    for name, child in block.named_children():
        rows = [parameter.shape[:1] for parameter in child.parameters()]
        shaped = "shared" not in name and all(shape in ((entry.num_experts,), ()) for shape in rows)
        if rows and (name in ("router", "gate") or shaped):
            found.append(f"{entry.block_name}.{name}")
    return found


def _group_by_name(place: str) -> Group:
    """The group of a parameter outside MoE blocks, by the words in its dotted name."""
    if "shared" in place and "expert" in place:
        return "shared experts"
    if "router" in place:
        return "router"
    if any(word in place for word in _MIXERS):
        return "attention"
    if any(word in place for word in _DENSE):
        return "dense MLP"
    return "other"


def training_table(model: PreTrainedModel, repeats: Callable[[str], int] = lambda name: 1) -> list[GroupCount]:
    """Count base and trained parameters by part of the model.

    Args:
        model: A model that a strategy was applied to.
        repeats: How often the parameter of a name counts, where one layer of a model stands for several.

    Returns:
        One row per group that the model has, in the order of `GROUPS`.
    """
    totals = dict.fromkeys(GROUPS, 0)
    trained = dict.fromkeys(GROUPS, 0)
    groups = group_parameters(model)
    for name, parameter in model.named_parameters():
        if ".trained_bank." not in name and ".lora_" not in name:
            totals[groups[name]] += full_shape(parameter).numel() * repeats(name)
        if parameter.requires_grad:
            trained[groups[name]] += parameter.numel() * repeats(name)
    return [GroupCount(group, totals[group], trained[group]) for group in GROUPS if totals[group] or trained[group]]
