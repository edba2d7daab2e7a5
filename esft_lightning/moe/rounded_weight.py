"""Fused weights kept in fewer bits, for experts that are read and never trained: int8 and 4-bit NF4.

A rounded weight has values and scales, whose first axis is the expert's, and gives the full weight back, of one expert
or of all. Its values stand where the full parameter was; their dtype tells which it is.

Shapes: `E` routed experts; `[E, a, b]` a fused weight in the experts module's own layout.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from esft_lightning.errors import UserError

ExpertQuantisation = Literal["int8", "nf4"]
_LARGEST = 127  # of int8, symmetric
NF4_BLOCK = 64  # values of NF4 that share a scale
# bitsandbytes, which peft imports too where it is there, would warn that a product which is not used here is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


class QuantisationError(UserError, ValueError):
    """Experts cannot be kept in fewer bits: of this base, with these settings, or for what is to be trained."""


class Int8Weight(NamedTuple):
    """Weight-only int8 per output channel: `W ≈ q · s`, symmetric (`s = max |W| / 127`).

    As `x (q s) = (x q) s`, products are taken with the whole numbers, which bf16 holds exactly, and scaled afterwards.

    Attributes:
        values: int8 `[E, a, b]`.
        scale: fp32 `[E, out]`.
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor, is_transposed: bool) -> Int8Weight:
        """Round a fused weight, one expert at a time, so that no second copy of the layer is made.

        Args:
            weight: `[E, a, b]`.
            is_transposed: Whether the layout is `[E, in, out]` rather than `[E, out, in]`.

        Returns:
            The int8 values and their scales. An output channel of zeros has scale 1.
        """
        into = 0 if is_transposed else 1  # of one expert
        values = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        scale = torch.empty(weight.shape[0], weight.shape[2 - into], dtype=torch.float32, device=weight.device)
        full = torch.empty(weight.shape[1:], dtype=torch.float32, device=weight.device)
        for expert in range(weight.shape[0]):
            least, largest = full.copy_(weight[expert].detach()).aminmax(dim=into)
            largest = torch.maximum(-least, largest)
            scale[expert] = torch.where(largest > 0, largest / _LARGEST, 1.0)
            values[expert] = full.div_(scale[expert].unsqueeze(into)).round_()
        return cls(values, scale)

    def of_expert(self, expert: int, scratch: Tensor) -> Tensor:
        """One expert's whole numbers `[a, b]`, written into `scratch`, whose dtype is computed in."""
        return scratch.copy_(self.values[expert])

    def of_all(self, dtype: torch.dtype) -> Tensor:
        """All experts' whole numbers `[E, a, b]`."""
        return self.values.to(dtype)

    @property
    def product_scale(self) -> Tensor | None:
        """What a product's output channels are still to be multiplied by, `[E, out]`."""
        return self.scale


class NF4Weight(NamedTuple):
    """4-bit NormalFloat (QLoRA, arXiv 2305.14314) by bitsandbytes: blocks of 64 values share their largest as a scale.

    Attributes:
        values: uint8 `[E, a, b / 2]`, two values a byte along the last axis.
        scale: fp32 `[E, a · b / 64]`.
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor, is_transposed: bool) -> NF4Weight:
        """Round a fused weight, one expert at a time, so that no second copy of the layer is made.

        Args:
            weight: `[E, a, b]`.
            is_transposed: Its layout, which makes no difference here.

        Raises:
            QuantisationError: If an expert's matrix is no whole number of blocks.
        """
        from bitsandbytes.functional import quantize_4bit

        experts, outer, inner = weight.shape
        if inner % 2 or outer * inner % NF4_BLOCK:
            raise QuantisationError(
                f"nf4 rounds blocks of {NF4_BLOCK} values, two to a byte of a row, and matrices of {outer} × {inner} "
                "cannot be cut so; quantize_experts: int8 takes any"
            )
        values = torch.empty(experts, outer, inner // 2, dtype=torch.uint8, device=weight.device)
        scale = torch.empty(experts, outer * inner // NF4_BLOCK, dtype=torch.float32, device=weight.device)
        for expert in range(experts):
            one = weight[expert].detach().contiguous()
            packed, state = quantize_4bit(one, blocksize=NF4_BLOCK, quant_type="nf4")
            values[expert], scale[expert] = packed.view(outer, inner // 2), state.absmax
        return cls(values, scale)

    def of_expert(self, expert: int, scratch: Tensor) -> Tensor:
        """One expert's weight `[a, b]`, in the dtype of `scratch`."""
        return _from_nf4(self.values[expert], self.scale[expert], scratch.dtype)

    def of_all(self, dtype: torch.dtype) -> Tensor:
        """The whole weight `[E, a, b]`."""
        return _from_nf4(self.values, self.scale, dtype)

    @property
    def product_scale(self) -> None:
        """Nothing is left to be multiplied by."""
        return None


RoundedWeight = Int8Weight | NF4Weight
ROUNDED: dict[ExpertQuantisation, type[Int8Weight] | type[NF4Weight]] = {"int8": Int8Weight, "nf4": NF4Weight}


def rounded(values: Tensor, scale: Tensor) -> RoundedWeight:
    """The rounded weight that values and scales are, told by their dtype."""
    return NF4Weight(values, scale) if values.dtype == torch.uint8 else Int8Weight(values, scale)


def full_shape(parameter: Tensor) -> torch.Size:
    """The shape of the full weight that a parameter is, or that its values stand for.

    Args:
        parameter: A parameter of an experts module, rounded or not.
    """
    packed = parameter.dtype == torch.uint8
    return torch.Size((*parameter.shape[:-1], 2 * parameter.shape[-1])) if packed else parameter.shape


def check_can_round(quantisation: ExpertQuantisation) -> None:
    """Refuse, before anything is read, what needs a package that is not there.

    Raises:
        QuantisationError: If it is not installed.
    """
    if quantisation == "nf4" and find_spec("bitsandbytes") is None:
        raise QuantisationError(
            "quantize_experts=nf4 needs bitsandbytes; in a clone of this project: pip install '.[nf4]'"
        )


def _from_nf4(values: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    from bitsandbytes.functional import QuantState, dequantize_4bit

    # A block to a row: on CPUs bitsandbytes 0.50 takes other scales where rows are no whole number of blocks.
    blocks = torch.Size((scale.numel(), NF4_BLOCK))
    state = QuantState(absmax=scale.reshape(-1), shape=blocks, dtype=dtype, blocksize=NF4_BLOCK, quant_type="nf4")
    return dequantize_4bit(values.reshape(-1, 1), state).view(full_shape(values))
