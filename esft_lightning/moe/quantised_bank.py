"""Frozen experts in fewer bits: what a module with rounded weights still knows, and products with them.

Backward reads the rounded weights again: no full copy is saved.

Shapes: `E` routed experts, `N` some of them, `R` rows sorted by expert. Biases stay as they are. Knows nothing of how
experts are chosen, or of where weights come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esft_lightning.moe.master_weights import base_dtype
from esft_lightning.moe.product_path import product_path
from esft_lightning.moe.rounded_blocks import rounded_blocks_mm, scaled_rows
from esft_lightning.moe.rounded_kernel import kernel_takes, rounded_kernel_mm
from esft_lightning.moe.rounded_weight import ROUNDED, ExpertQuantisation, RoundedWeight, full_shape, rounded
from esft_lightning.moe.widened_arithmetic import arithmetic_dtype


@dataclass(frozen=True)
class Quantised:
    """What a quantised experts module still knows of its full weights: kept on it as `esft_quantised`.

    Attributes:
        quantisation: How its weights are rounded.
        dtype: The dtype that the full weights have, and that is computed in.
        original_rows: Reads full rows again: parameter name and expert ids → `[N, …]` in `dtype`.
        samples: Parameter name → what a fingerprint takes of the full weight.
    """

    quantisation: ExpertQuantisation
    dtype: torch.dtype
    original_rows: Callable[[str, Sequence[int]], Tensor] = field(repr=False)
    samples: dict[str, bytes] = field(repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Quantised:
        """Shared by copies of a model: it is never changed once the model is loaded."""
        return self


def put_quantised(experts: nn.Module, name: str, weight: Tensor, quantisation: ExpertQuantisation) -> None:
    """Give an experts module the rounded form of a weight in place of the parameter.

    Args:
        experts: The fused experts module; the parameter may be empty (on the meta device).
        name: The parameter's name, such as `down_proj`.
        weight: Its full value, `[E, a, b]`.
        quantisation: How to round it.

    Raises:
        QuantisationError: If a weight of this shape cannot be rounded so.
    """
    values, scale = ROUNDED[quantisation].of(weight, bool(experts.is_transposed))
    experts.register_parameter(name, nn.Parameter(values, requires_grad=False))
    experts.register_buffer(f"{name}_scale", scale)


def quantised(experts: nn.Module) -> Quantised | None:
    """What an experts module knows of its full weights; None where it has them."""
    return vars(experts).get("esft_quantised")


def is_quantised(model: nn.Module) -> bool:
    """Whether a model has quantised experts."""
    return any(quantised(module) is not None for module in model.modules())


def experts_dtype(experts: nn.Module) -> torch.dtype:
    """The dtype that an experts module computes in: that of its full weights, as the model was loaded."""
    state = quantised(experts)
    if state is not None:
        return state.dtype
    return base_dtype(experts, "down_proj") or own_parameter(experts, "down_proj").dtype


def own_parameter(experts: nn.Module, name: str) -> Tensor:
    """The parameter itself, even while a forward reads a master rounded, or LoRA has put base and update in its place.

    Args:
        experts: The fused experts module.
        name: Name of one of its parameters.
    """
    parameter = experts._parameters.get(name)
    return parameter if parameter is not None else experts.parametrizations[name].original  # type: ignore[index, union-attr]


def frozen_weight(experts: nn.Module, name: str) -> Tensor | RoundedWeight:
    """How the base's weights are read: the parameter (with LoRA base and update), or its rounded form.

    A master comes as it is, for whoever multiplies to round what is needed.

    Args:
        experts: The fused experts module.
        name: Name of one of its parameters.
    """
    own = experts._parameters.get(name)
    parameter: Tensor = getattr(experts, name) if own is None else own
    return parameter if parameter.is_floating_point() else rounded(parameter, experts.get_buffer(f"{name}_scale"))


def full_rows(experts: nn.Module, name: str, expert_ids: Sequence[int]) -> Tensor:
    """The base's own values of some experts, never rounded: read again from the checkpoint where they are so here.

    Args:
        experts: The fused experts module.
        name: Name of one of its parameters.
        expert_ids: N experts.

    Returns:
        A copy, `[N, …]`, on the module's device.
    """
    parameter, state = experts.get_parameter(name), quantised(experts)
    if state is not None and not parameter.is_floating_point():
        return state.original_rows(name, expert_ids).to(parameter.device)
    return parameter.detach()[torch.tensor(list(expert_ids), device=parameter.device)]


def room_for_rows(experts: nn.Module, name: str, expert_ids: Sequence[int]) -> Tensor:
    """What `full_rows` returns, without the values.

    Args:
        experts: The fused experts module.
        name: Name of one of its parameters.
        expert_ids: N experts.

    Returns:
        `[N, …]` of the base's own dtype, uninitialised, on the module's device.
    """
    parameter = experts.get_parameter(name)
    dtype = parameter.dtype if parameter.is_floating_point() else experts_dtype(experts)
    return torch.empty((len(expert_ids), *full_shape(parameter)[1:]), dtype=dtype, device=parameter.device)


def ends_on_host(experts: nn.Module, offsets: Tensor) -> list[int] | None:
    """Where rounded experts' rows end, read from an accelerator: one wait for both of a layer's products.

    Args:
        experts: The fused experts module.
        offsets: int32 `[E]`.

    Returns:
        The offsets; None where nobody needs them on the host: for full weights, on the CPU, while compiling.
    """
    if quantised(experts) is None or offsets.device.type in ("cpu", "meta") or torch.compiler.is_compiling():
        return None
    return offsets.tolist()


def rounded_grouped_mm(
    x: Tensor, weight: RoundedWeight, offsets: Tensor, is_transposed: bool, ends: Sequence[int] | None = None
) -> Tensor:
    """`x[rows of expert e] @ W[e]`, differentiable by `x` alone.

    On the CPU one expert at a time is widened. On accelerators a grouped kernel reads the rounded values where it takes
    them (`rounded_kernel`), and else a block of experts is widened at a time; both compute only where there are rows.
    That takes their ends on the host; without them the whole layer is widened, as the sync-free forward and compiled
    graphs want it.

    Args:
        x: `[R, in]`, in the dtype to compute in.
        weight: Of E experts.
        offsets: int32 `[E]`, where each expert's rows end; rows beyond the last end come out as anything.
        is_transposed: Layout of the weight.
        ends: The offsets, where the host knows them.

    Returns:
        `[R, out]`, in the dtype of `x`.
    """
    _, rows, columns = full_shape(weight.values)
    on_host = x.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host or (ends is not None and product_path((rows, columns), x.dtype, x.device) == "plain loop"):
        return by_expert_mm(x, weight.values, offsets, is_transposed, weight.scale)
    if ends is not None and kernel_takes(weight, x.dtype, x.device, is_transposed):
        return rounded_kernel_mm(x, weight, ends)  # type: ignore[arg-type]
    if ends is not None:
        return rounded_blocks_mm(x, weight, offsets, ends, is_transposed)
    return _RoundedAtOnce.apply(x, weight.values, weight.scale, offsets, is_transposed)  # type: ignore[return-value]


def by_expert_mm(
    x: Tensor, weight: Tensor, offsets: Tensor, is_transposed: bool, scale: Tensor | None = None
) -> Tensor:
    """`x[rows of expert e] @ W[e]`, one expert at a time in `arithmetic_dtype`, for the CPU.

    The weight is rounded to the dtype of `x` first, as a cast of it would: fp32 masters over bf16 are.

    Args:
        x: `[R, in]`, in the dtype to compute in.
        weight: `[E, a, b]`, or the values of a rounded one; it gets a gradient where it asks for one.
        offsets: `[E]`, where each expert's rows end; rows beyond the last end come out as anything.
        is_transposed: Layout of the weight.
        scale: The scales of a rounded weight.

    Returns:
        `[R, out]`, in the dtype of `x`.
    """
    return _ByExpert.apply(x, weight, scale, offsets, is_transposed)  # type: ignore[return-value]


class _RoundedAtOnce(torch.autograd.Function):
    """One grouped product of the whole layer, widened again in backward: the rounded weight is all that is saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, scale: Tensor, offsets: Tensor, is_transposed: bool) -> Tensor:
        ctx.save_for_backward(values, scale, offsets)
        ctx.is_transposed = is_transposed
        weight = rounded(values, scale)
        wide = weight.of_all(x.dtype)
        product = F.grouped_mm(x.contiguous(), wide if is_transposed else wide.transpose(1, 2), offs=offsets)
        return scaled_rows(product, weight.product_scale, offsets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, scale, offsets = ctx.saved_tensors
        weight = rounded(values, scale)
        gradient = scaled_rows(gradients[0], weight.product_scale, offsets).contiguous()
        wide = weight.of_all(gradient.dtype)
        return F.grouped_mm(gradient, wide.transpose(1, 2) if ctx.is_transposed else wide, offs=offsets), *[None] * 4


class _ByExpert(torch.autograd.Function):
    """A loop over experts that have rows. Rows are saved only where the weight trains, widened weights never."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor | None, offsets: Tensor, is_transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight, scale)
        ctx.ends, ctx.is_transposed, ctx.dtype = offsets.tolist(), is_transposed, x.dtype
        made = x.new_empty(x.shape[0], full_shape(weight)[2 if is_transposed else 1])
        with torch.autocast(x.device.type, enabled=False):
            for rows, _, wide, factors in _experts_with_rows(weight, scale, ctx):
                product = x[rows].to(wide.dtype) @ wide
                made[rows] = product if factors is None else product.mul_(factors)
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight, scale = ctx.saved_tensors
        by_rows = by_weight = None
        if ctx.needs_input_grad[0]:
            by_rows = gradient.new_empty(gradient.shape[0], full_shape(weight)[1 if ctx.is_transposed else 2])
        if ctx.needs_input_grad[1]:
            by_weight = torch.zeros_like(weight)
        with torch.autocast(gradient.device.type, enabled=False):
            for rows, expert, wide, factors in _experts_with_rows(weight, scale, ctx):
                of_rows = gradient[rows].to(wide.dtype)
                if by_weight is not None:
                    mine = x[rows].to(wide.dtype)
                    by_weight[expert] = mine.T @ of_rows if ctx.is_transposed else of_rows.T @ mine
                if by_rows is not None:
                    scaled = of_rows if factors is None else (of_rows * factors).to(wide.dtype)
                    by_rows[rows] = scaled @ wide.T
        return by_rows, by_weight, None, None, None


def _experts_with_rows(
    weight: Tensor, scale: Tensor | None, ctx: Any
) -> Iterator[tuple[slice, int, Tensor, Tensor | None]]:
    """Each expert that has rows: these, its number, its weight `[in, out]` and, if any, its product's factors `[out]`.

    The weight is in one scratch that all of them share.
    """
    weight, kept = weight.detach(), None if scale is None else rounded(weight, scale)
    by_channel = None if kept is None else kept.product_scale
    # Of the weight's own strides, so that widening is one linear pass.
    scratch = torch.empty_like(weight[0], dtype=arithmetic_dtype(ctx.dtype, weight.device))
    start = 0
    for expert, end in enumerate(ctx.ends):
        if end > start:
            wide = scratch.copy_(weight[expert].to(ctx.dtype)) if kept is None else kept.of_expert(expert, scratch)
            factors = None if by_channel is None else by_channel[expert]
            yield slice(start, end), expert, wide if ctx.is_transposed else wide.T, factors
        start = end
