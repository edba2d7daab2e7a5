"""By which way a model's routed experts are multiplied where it lies now, as logs and results say it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esft_lightning.moe.discovery import find_moe_layers
from esft_lightning.moe.placement import device_of
from esft_lightning.moe.product_path import ProductPath, product_path
from esft_lightning.moe.quantised_bank import experts_dtype, frozen_weight, own_parameter, quantised
from esft_lightning.moe.rounded_kernel import PACKAGE, kernel_takes
from esft_lightning.moe.rounded_weight import full_shape

_MATRICES = ("gate_up_proj", "up_proj", "down_proj")
_SAID: dict[ProductPath, str] = {
    "grouped kernel": "one grouped kernel",
    "grouped loop": "F.grouped_mm's own loop over experts",
    "plain loop": "Transformers' loop over experts, since F.grouped_mm does not take these",
    "widened experts": "one expert at a time, widened to float32, since this CPU has no arithmetic for the dtype",
}


def experts_paths(model: Any) -> list[ProductPath]:
    """The ways that the products of a model's experts are taken where it lies now, each once."""
    paths: set[ProductPath] = set()
    for entry in find_moe_layers(model):
        for name in _MATRICES:
            if hasattr(entry.experts, name):
                shape = full_shape(own_parameter(entry.experts, name))
                if len(shape) == 3:  # an engine may have it in pieces
                    sizes = (shape[1], shape[2])
                    paths.add(product_path(sizes, experts_dtype(entry.experts), device_of(entry.experts)))
    return sorted(paths)


def described_products(model: Any) -> str:
    """How a model's routed experts are multiplied, as logs and results say it.

    Args:
        model: An MoE model, on the device where it computes.

    Returns:
        Such as `one grouped kernel, bfloat16, cuda 9.0`.
    """
    experts = find_moe_layers(model)[0].experts
    device, state = device_of(experts), quantised(experts)
    capability = " {}.{}".format(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else ""
    dtype = str(experts_dtype(experts)).removeprefix("torch.")
    rounded = "" if state is None else f", frozen ones from {state.quantisation} {_rounded_way(experts)}"
    ways = " and ".join(_SAID[path] for path in experts_paths(model)) or "what its engine leaves of them"
    return f"{ways}, {dtype}{rounded}, {device.type}{capability}"


def _rounded_way(experts: Any) -> str:
    """How products with the frozen, rounded experts are taken."""
    device, weights = device_of(experts), [frozen_weight(experts, name) for name in _MATRICES if hasattr(experts, name)]
    if device.type == "cpu":
        return "one at a time"
    dtype, is_transposed = experts_dtype(experts), bool(experts.is_transposed)
    by_kernel = [
        not isinstance(weight, Tensor) and kernel_takes(weight, dtype, device, is_transposed) for weight in weights
    ]
    return f"by {PACKAGE}" if all(by_kernel) else f"by {PACKAGE} and blocks" if any(by_kernel) else "by blocks"


def waits_for_each_product(model: Any) -> bool:
    """Whether products of experts make the host wait for an accelerator, whichever forward is chosen."""
    device = device_of(find_moe_layers(model)[0].experts)
    return device.type == "cuda" and experts_paths(model) != ["grouped kernel"]
