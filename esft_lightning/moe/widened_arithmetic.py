"""bf16 weights on CPUs that have no bf16 arithmetic: widen a block, multiply in fp32, round the result.

Without such instructions a bf16 product takes four times as long as an fp32 one, and its gradient by the rows, forty
(measured with torch 2.13 on AVX2). A bf16 product is summed in fp32 anyway, so widening its factors changes nothing but
the order of the sum. A block (one expert, or some output channels of a linear layer) is widened at a time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCK = 2**22  # values widened at a time: 16 MB


def arithmetic_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype to multiply in: the given one, or fp32 where a CPU lacks arithmetic for it.

    Args:
        dtype: Dtype of the weights.
        device: Where they are.
    """
    if device.type != "cpu" or torch.compiler.is_compiling() or _cpu_computes(dtype):
        return dtype
    return torch.float32


@cache
def _cpu_computes(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for products of a dtype, as oneDNN sees it."""
    if dtype not in (torch.bfloat16, torch.float16):
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    name = "_is_mkldnn_bf16_supported" if dtype == torch.bfloat16 else "_is_mkldnn_fp16_supported"
    return bool(getattr(torch.ops.mkldnn, name)())


class WidenedLinear(nn.Linear):
    """A linear layer whose products are taken in `arithmetic_dtype`."""

    def forward(self, input: Tensor) -> Tensor:
        """`x Wᵀ + b`, in the dtype of the weights."""
        wide = arithmetic_dtype(self.weight.dtype, input.device)
        if wide == self.weight.dtype or input.dtype != self.weight.dtype:
            return super().forward(input)
        product = _BlockwiseLinear.apply(input, self.weight, wide)
        return product if self.bias is None else product + self.bias  # type: ignore[return-value]


def widen_linears(model: nn.Module) -> None:
    """Let the linear layers of a model compute in `arithmetic_dtype`; where it is their own, nothing changes.

    Args:
        model: A model; where it must be, its plain `nn.Linear` modules change their class, and nothing else of them.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            dtype = module.weight.dtype
            if arithmetic_dtype(dtype, module.weight.device) != dtype:
                module.__class__ = WidenedLinear


class _BlockwiseLinear(torch.autograd.Function):
    """`x Wᵀ`, a block of output channels at a time; rows are saved only where the weight trains."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, wide: torch.dtype) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        ctx.wide = wide
        made = x.new_empty(*x.shape[:-1], weight.shape[0])
        rows = x.to(wide)
        with torch.autocast(x.device.type, enabled=False):
            for start, block in _blocks(weight):
                made[..., start : start + len(block)] = F.linear(rows, block.to(wide))
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        by_rows = by_weight = None
        with torch.autocast(gradient.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                total = torch.zeros(*gradient.shape[:-1], weight.shape[1], dtype=ctx.wide, device=gradient.device)
                for start, block in _blocks(weight):
                    total += gradient[..., start : start + len(block)].to(ctx.wide) @ block.to(ctx.wide)
                by_rows = total.to(gradient.dtype)
            if ctx.needs_input_grad[1]:
                rows = x.reshape(-1, x.shape[-1]).to(ctx.wide)
                by_weight = torch.empty_like(weight)
                for start, block in _blocks(weight):
                    of_block = gradient[..., start : start + len(block)].reshape(rows.shape[0], -1).to(ctx.wide)
                    by_weight[start : start + len(block)] = of_block.T @ rows
        return by_rows, by_weight, None


def _blocks(weight: Tensor) -> list[tuple[int, Tensor]]:
    """Output channels in blocks: where each begins, and its weights."""
    size = max(1, _BLOCK // weight.shape[1])
    return [(start, weight[start : start + size]) for start in range(0, weight.shape[0], size)]
