"""Where an MoE model keeps its routed experts.

Transformers marks every fused experts module with the same attributes (`is_transposed`, `has_gate`, `has_bias`, …),
whatever the family. This file finds modules by those marks, so no family is named anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from esft_lightning.errors import UserError

_MARKS = ("is_transposed", "has_gate", "has_bias", "is_concatenated")


class NotAnMoEError(UserError, ValueError):
    """The model has no routed experts that this library can open."""


@dataclass(frozen=True)
class MoELayer:
    """One layer's routed experts.

    Attributes:
        layer: Number of the decoder layer, as in `expert_cfg.json` (the layer, not the rank among MoE layers).
        name: Dotted name of the experts module inside the model.
        experts: The fused experts module; its parameters have the experts as first dimension.
        num_experts: E, how many routed experts it holds.
    """

    layer: int
    name: str
    experts: nn.Module = field(repr=False)
    num_experts: int

    @property
    def block_name(self) -> str:
        """Dotted name of the MoE block: the module that owns router, routed and shared experts."""
        return self.name.rpartition(".")[0]


def is_fused_experts(module: nn.Module) -> bool:
    """Whether `module` itself (not a wrapper that forwards attributes) is a fused experts module."""
    return all(mark in vars(module) for mark in _MARKS) and "down_proj" in module._parameters


def projection_names(experts: nn.Module) -> list[str]:
    """Names of the experts module's own parameters that hold one slice per expert, weights and biases alike."""
    num_experts = experts.get_parameter("down_proj").shape[0]
    return [
        name for name, parameter in experts.named_parameters(recurse=False) if parameter.shape[:1] == (num_experts,)
    ]


def find_moe_layers(model: nn.Module) -> list[MoELayer]:
    """Find the routed experts of every MoE layer.

    Args:
        model: A Transformers causal LM, bare or wrapped (for example by peft).

    Returns:
        One entry per MoE layer, ordered by layer number.

    Raises:
        NotAnMoEError: If there is none, or if a layer number cannot be read or stands twice.
    """
    found: dict[int, MoELayer] = {}
    for name, module in model.named_modules():
        if not is_fused_experts(module):
            continue
        name = name.replace(".base_layer", "")
        numbers = [int(part) for part in name.split(".") if part.isdigit()]
        if len(numbers) != 1:
            raise NotAnMoEError(
                f"{type(model).__name__}: the experts module '{name}' has {len(numbers)} numbers in its name; needed "
                "is one, the decoder layer's"
            )
        if numbers[0] in found:
            raise NotAnMoEError(
                f"{type(model).__name__}: layer {numbers[0]} has two experts modules, '{found[numbers[0]].name}' and "
                f"'{name}'; needed is one experts module per layer and one stack of layers"
            )
        found[numbers[0]] = MoELayer(numbers[0], name, module, module.get_parameter("down_proj").shape[0])
    if not found:
        raise NotAnMoEError(
            f"{type(model).__name__} has no fused routed experts (Transformers' experts interface, "
            "`use_experts_implementation`); "
            "choose a Mixture-of-Experts model, for example base: tiny or deepseek-ai/DeepSeek-V2-Lite"
        )
    return [found[layer] for layer in sorted(found)]


def find_decoder(model: nn.Module) -> nn.Module:
    """The module that owns the list of decoder layers: every forward pass goes through it, with head or without."""
    first = find_moe_layers(model)[0]
    owner = first.name.split(f".{first.layer}.")[0].rpartition(".")[0]
    return model.get_submodule(owner) if owner else model
