"""Routed experts as the definition has them: a loop in fp32, in plain autograd. Everything is held against it.

`T` tokens, `K` experts per token, `E` experts, `H` hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esft_lightning.moe.quantised_bank import frozen_weight
from esft_lightning.moe.rounded_weight import Int8Weight

WeightOf = Callable[[str, int], Tensor]
"""Parameter name and expert → its matrix `[out, in]` in fp32."""


def plain_loop(experts: Any, weight_of: WeightOf, hidden: Tensor, index: Tensor, gates: Tensor) -> Tensor:
    """`[T, H]` from `hidden` `[T, H]`, the chosen experts `[T, K]` and their gates `[T, K]`, all in fp32."""
    out = torch.zeros_like(hidden)
    for expert in range(experts.get_parameter("down_proj").shape[0]):
        token, place = (index == expert).nonzero(as_tuple=True)
        if token.numel():
            gate, up = F.linear(hidden[token], weight_of("gate_up_proj", expert)).chunk(2, dim=-1)
            row = F.linear(experts.act_fn(gate) * up, weight_of("down_proj", expert))
            out = out.index_add(0, token, row * gates[token, place, None])
    return out


def weights_of(experts: nn.Module, dtype: torch.dtype) -> WeightOf:
    """The matrices that an experts module computes with: the bank's, in the dtype computed in, and the base's.

    Args:
        experts: With a trained bank or without, its frozen experts rounded or not.
        dtype: That it computes in.
    """
    bank: Any = experts._modules.get("trained_bank")
    full = {name: _full(experts, name) for name in ("gate_up_proj", "down_proj")}

    def weight_of(name: str, expert: int) -> Tensor:
        if bank is not None and expert in bank.expert_ids:
            return bank.weight(name)[bank.expert_ids.index(expert)].to(dtype).float()
        return full[name][expert].float()

    return weight_of


def _full(experts: nn.Module, name: str) -> Tensor:
    weight = frozen_weight(experts, name)
    if isinstance(weight, Tensor):
        return weight
    full = weight.of_all(torch.float32)
    return full * weight.scale.unsqueeze(2) if isinstance(weight, Int8Weight) else full
