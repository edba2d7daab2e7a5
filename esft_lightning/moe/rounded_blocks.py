"""Products with rounded experts on accelerators: a block of experts is widened at a time, for one grouped product.

Widening a whole layer takes as much memory as the full weights of that layer (805 MB for one projection of
Qwen3-30B-A3B), so a block has few megabytes, and blocks without rows are left out. For NF4 a grouped kernel that reads
the rounded values themselves takes this place where it can (:mod:`esft_lightning.moe.rounded_kernel`); for int8 with a
scale a channel no maintained one is known to us.

Shapes: `E` routed experts, `R` rows sorted by expert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from esft_lightning.moe.rounded_weight import RoundedWeight, full_shape, rounded

BLOCK_BYTES = 2**26  # of widened weights; a grouped product of fewer leaves a large GPU idle


def rounded_blocks_mm(
    x: Tensor, weight: RoundedWeight, offsets: Tensor, ends: Sequence[int], is_transposed: bool
) -> Tensor:
    """`x[rows of expert e] @ W[e]`, differentiable by `x` alone; backward widens the blocks again.

    Args:
        x: `[R, in]`, in the dtype to compute in.
        weight: Of E experts.
        offsets: int32 `[E]`, where each expert's rows end; none lies beyond the last end.
        ends: The same on the host.
        is_transposed: Layout of the weight.

    Returns:
        `[R, out]`, in the dtype of `x`.
    """
    return _RoundedBlocks.apply(x, weight.values, weight.scale, offsets, ends, is_transposed)  # type: ignore[return-value]


class _RoundedBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, scale: Tensor, offsets: Tensor, ends: Sequence[int], is_transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(values, scale, offsets)
        ctx.ends, ctx.is_transposed = ends, is_transposed
        made = x.new_empty(x.shape[0], full_shape(values)[2 if is_transposed else 1])
        for rows, block, block_ends in _blocks(rounded(values, scale), offsets, ends, x.dtype):
            wide = block.of_all(x.dtype)
            product = F.grouped_mm(x[rows].contiguous(), wide if is_transposed else wide.mT, offs=block_ends)
            made[rows] = scaled_rows(product, block.product_scale, block_ends)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, scale, offsets = ctx.saved_tensors
        (gradient,) = gradients
        by_rows = gradient.new_empty(gradient.shape[0], full_shape(values)[1 if ctx.is_transposed else 2])
        for rows, block, block_ends in _blocks(rounded(values, scale), offsets, ctx.ends, gradient.dtype):
            of_rows = scaled_rows(gradient[rows], block.product_scale, block_ends).contiguous()
            wide = block.of_all(gradient.dtype)
            by_rows[rows] = F.grouped_mm(of_rows, wide.mT if ctx.is_transposed else wide, offs=block_ends)
        return by_rows, *[None] * 5


def _blocks(
    weight: RoundedWeight, offsets: Tensor, ends: Sequence[int], dtype: torch.dtype
) -> Iterator[tuple[slice, RoundedWeight, Tensor]]:
    """Blocks of experts that have rows: these, the block's weight, and where each of its experts' rows end in them."""
    _, rows, columns = full_shape(weight.values)
    size = max(1, BLOCK_BYTES // (rows * columns * dtype.itemsize))
    for first in range(0, len(ends), size):
        start, stop = ends[first - 1] if first else 0, ends[min(first + size, len(ends)) - 1]
        if stop > start:
            experts = slice(first, first + size)
            block = rounded(weight.values[experts], weight.scale[experts])
            yield slice(start, stop), block, offsets[experts] - start


def scaled_rows(x: Tensor, scale: Tensor | None, offsets: Tensor) -> Tensor:
    """Rows times the scales of their expert's output channels, where there are any; in fp32, rounded once."""
    return x if scale is None else (x * scale[rows_to_groups(offsets, x.shape[0])]).to(x.dtype)


def rows_to_groups(offsets: Tensor, rows: int) -> Tensor:
    """Which group each of the sorted rows belongs to, `[rows]`, without a synchronisation.

    Args:
        offsets: Where each group's rows end.
        rows: How many rows there are; those beyond the last end count to the last group.
    """
    places = torch.arange(rows, device=offsets.device, dtype=offsets.dtype)
    return torch.searchsorted(offsets, places, right=True).clamp_(max=offsets.shape[0] - 1)
