"""A trained bank of low-rank updates: LoRA on the selected experts alone.

`N` selected experts, `r` rank. A projection's weights are the base's rows + scaling · B A, made anew in each forward,
so that forward and backward are those of the two-bank experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from esft_lightning.errors import SettingError
from esft_lightning.moe.discovery import projection_names
from esft_lightning.moe.placement import device_of
from esft_lightning.moe.quantised_bank import full_rows, own_parameter, quantised
from esft_lightning.moe.rounded_weight import full_shape
from esft_lightning.moe.two_bank import ExpertBank, place_banks


class LowRankBank(ExpertBank):
    """Pairs of low-rank factors for the matrices of one layer's selected experts; biases stay the base's.

    For each matrix of the experts module, in its own layout `[E, a, b]`, there are `NAME_lora_A` `[N, r, b]` and
    `NAME_lora_B` `[N, a, r]`. A starts as in peft (Kaiming uniform), B at zero, so that the bank starts as the base.
    """

    def __init__(self, experts: nn.Module, expert_ids: Sequence[int], rank: int = 8, scaling: float = 2.0) -> None:
        """Make the factors, fp32.

        Args:
            experts: The fused experts module; it is read in every forward, never written to.
            expert_ids: Experts to train; stored in ascending order.
            rank: r.
            scaling: Factor on the update.

        Raises:
            ValueError: If an expert id cannot be, or the rank is below 1.
        """
        super().__init__(experts, expert_ids)
        if rank < 1:
            raise SettingError(f"rank must be at least 1, got {rank}")
        self.rank = rank
        self.scaling = scaling
        # in a tuple, so that the base's experts do not become a part of this module
        self._base = (experts,)
        self._rows: Tensor
        rows = torch.tensor(self.expert_ids, device=device_of(experts))
        self.register_buffer("_rows", rows, persistent=False)
        for name in projection_names(experts):
            if quantised(experts) is not None:  # their full values, which the base does not hold
                self.register_buffer(f"base_{name}", full_rows(experts, name, self.expert_ids), persistent=False)
            for factor, shape in low_rank_shapes(name, experts.get_parameter(name), rank).items():
                values = torch.zeros(len(self.expert_ids), *shape, device=rows.device)
                if factor.endswith("_A"):
                    values.uniform_(-1 / math.sqrt(shape[1]), 1 / math.sqrt(shape[1]))
                self.register_parameter(factor, nn.Parameter(values))

    def weight(self, name: str) -> Tensor:
        """The base's rows with their update, `[N, …]`."""
        kept = self._buffers.get(f"base_{name}")
        base = own_parameter(self._base[0], name).detach()[self._rows] if kept is None else kept
        if f"{name}_lora_A" not in self._parameters:
            return base
        update = self.get_parameter(f"{name}_lora_B") @ self.get_parameter(f"{name}_lora_A")
        return base + self.scaling * update.to(base.dtype)


def low_rank_shapes(name: str, parameter: Tensor, rank: int) -> dict[str, tuple[int, int]]:
    """The factors of one expert for a fused parameter, by name, with their shapes; none for biases.

    Args:
        name: Name of the fused parameter.
        parameter: `[E, a, b]`, rounded or not, or a bias.
        rank: r.
    """
    if parameter.dim() != 3:
        return {}
    _, outer, inner = full_shape(parameter)
    return {f"{name}_lora_A": (rank, inner), f"{name}_lora_B": (outer, rank)}


def install_low_rank_banks(
    model: Any, experts: Mapping[int, Sequence[int]], rank: int = 8, scaling: float = 2.0
) -> dict[int, LowRankBank]:
    """Give the named layers a low-rank bank.

    Args:
        model: A Transformers MoE causal LM without banks.
        experts: Layer number to expert ids; layers with an empty list stay as they are.
        rank: Rank of every pair of factors.
        scaling: Factor on the update.

    Returns:
        The banks by layer number.

    Raises:
        ValueError: If a layer is not an MoE layer, an expert does not exist, or banks are already installed.
        NotImplementedError: If the experts are sharded by expert parallelism.
    """
    return place_banks(model, experts, lambda module, ids: LowRankBank(module, ids, rank, scaling))
