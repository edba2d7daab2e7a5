"""Rounded weights, widened by their definition."""

from __future__ import annotations

import torch

from esft_lightning.moe.rounded_weight import Int8Weight, RoundedWeight


def dequantized(weight: RoundedWeight, is_transposed: bool) -> torch.Tensor:
    full = weight.of_all(torch.float32)
    return full * weight.scale.unsqueeze(1 if is_transposed else 2) if isinstance(weight, Int8Weight) else full
