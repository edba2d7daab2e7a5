"""Products with NF4 experts by a grouped kernel that reads the 4-bit values themselves: no weight is widened in memory.

The kernel is the package grouped-nf4-gemm's (Triton), an optional extra. It takes bf16 on CUDA devices from compute
capability 8.0 on, and weights that keep `[E, out, in]` with whole blocks of 64 along `in`. Everything else goes by
blocks of experts (:mod:`esft_lightning.moe.rounded_blocks`).

Shapes: `E` routed experts, `R` rows sorted by expert.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from esft_lightning.moe.rounded_weight import NF4_BLOCK, NF4Weight, RoundedWeight

PACKAGE = "grouped-nf4-gemm"
_LEAST, _BEYOND = (0, 51), (0, 52)  # versions whose layout and signatures were read
_LEAST_CAPABILITY = (8, 0)


def kernel_takes(weight: RoundedWeight, dtype: torch.dtype, device: torch.device, is_transposed: bool) -> bool:
    """Whether the grouped kernel multiplies with a rounded weight.

    Args:
        weight: Of E experts.
        dtype: The dtype to compute in.
        device: Where the weight lies.
        is_transposed: Whether its layout is `[E, in, out]` rather than `[E, out, in]`.
    """
    return (
        isinstance(weight, NF4Weight)
        and dtype == torch.bfloat16
        and not is_transposed
        and 2 * weight.values.shape[-1] % NF4_BLOCK == 0
        and _device_runs_it(device)
        and is_installed()
    )


@cache
def is_installed() -> bool:
    """Whether the package is there, in a version that this module was written for, with the compiler that it needs."""
    try:
        have = tuple(int(part) for part in version(PACKAGE).split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return _LEAST <= have < _BEYOND and find_spec("triton") is not None


def _device_runs_it(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.version.hip is None and torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY
    return device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"  # Triton's interpreter, for tests


def rounded_kernel_mm(x: Tensor, weight: NF4Weight, ends: Sequence[int]) -> Tensor:
    """`x[rows of expert e] @ W[e]ᵀ`, differentiable by `x` alone; backward reads the 4-bit values again.

    Args:
        x: bf16 `[R, in]`.
        weight: Of E experts, `[E, out, in]`.
        ends: Where each expert's rows end, on the host; rows beyond the last end come out as zeros.

    Returns:
        bf16 `[R, out]`.
    """
    return _Kernel.apply(x, weight.values, weight.scale, ends)  # type: ignore[return-value]


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, scale: Tensor, ends: Sequence[int]) -> Tensor:
        ctx.save_for_backward(values, scale)
        ctx.ends = ends
        return _grouped("gemm_4bit_grouped", x, values, scale, ends, values.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, scale = ctx.saved_tensors
        by_rows = _grouped("dgrad_4bit_grouped", gradients[0], values, scale, ctx.ends, 2 * values.shape[2])
        return by_rows, None, None, None


def _grouped(name: str, rows: Tensor, values: Tensor, scale: Tensor, ends: Sequence[int], columns: int) -> Tensor:
    """One launch of the package's function over the experts that have rows."""
    starts = [0, *ends[:-1]]
    experts = [expert for expert, (start, end) in enumerate(zip(starts, ends, strict=True)) if end > start]
    sizes = [ends[expert] - starts[expert] for expert in experts]
    product = rows.new_zeros(rows.shape[0], columns)
    if experts:
        blocks = scale.view(*values.shape[:2], -1)
        kernel = getattr(import_module("nf4_grouped"), name)
        own = rows[: ends[-1]].contiguous()
        product[: ends[-1]] = kernel(own, values, blocks, sizes, experts)
    return product
