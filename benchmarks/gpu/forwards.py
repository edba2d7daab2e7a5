"""Every forward, and its gradients, against a plain loop in fp32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.models import checked_shape, drawn_shape, saved, some_experts
from benchmarks.gpu.part import Context
from benchmarks.gpu.plain_loop import plain_loop, weights_of
from esft_lightning.moe import SYNC_FREE, install_banks, install_low_rank_banks, load_model
from esft_lightning.moe.described_products import described_products
from esft_lightning.moe.rounded_weight import QuantisationError, check_can_round
from esft_lightning.moe.two_bank import IMPLEMENTATION

_LIMITS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
_LAYER = 1


def check_forwards(context: Context) -> None:
    """Two banks by both forwards, a low-rank bank, frozen experts in int8 and NF4, all experts training."""
    folder = saved(drawn_shape(checked_shape(context), torch.float32, context.device), context.folder / "base")
    for dtype in (torch.float32, torch.bfloat16):
        name: Any = str(dtype).removeprefix("torch.")
        load: Callable[..., Any] = partial(load_model, folder, dtype=name)
        for form, make in _FORMS.items():
            try:
                model = make(context, load)
            except QuantisationError as error:
                context.outcome.skipped(f"{form}, {name}", str(error))
                continue
            _compare(context, model, dtype, f"{form}, {name}")
            if form in ("two banks", "int8", "nf4"):
                context.outcome.facts[f"products, {form}, {name}"] = described_products(model)
            if form == "two banks":
                _compare(context, model, dtype, f"{form}, {name}, no token for a trained expert", avoided=True)
            context.save()


def _banks(context: Context, load: Callable[..., Any], implementation: str, quantise: Any = None) -> Any:
    if quantise:
        check_can_round(quantise)
    model = load(quantize_experts=quantise).to(context.device).requires_grad_(False)
    install_banks(model, {_LAYER: some_experts(context.scale.experts)})
    model.set_experts_implementation(implementation)
    return model


def _low_rank(context: Context, load: Callable[..., Any]) -> Any:
    model = load().to(context.device).requires_grad_(False)
    install_low_rank_banks(model, {_LAYER: some_experts(context.scale.experts)})
    return model


def _full(context: Context, load: Callable[..., Any]) -> Any:
    model = load().to(context.device).requires_grad_(False)
    model.model.layers[_LAYER].mlp.experts.requires_grad_(True)
    return model


_FORMS: dict[str, Callable[[Context, Callable[..., Any]], Any]] = {
    "two banks": partial(_banks, implementation=IMPLEMENTATION),
    "two banks, sync-free": partial(_banks, implementation=SYNC_FREE),
    "low-rank bank": _low_rank,
    "int8": partial(_banks, implementation=IMPLEMENTATION, quantise="int8"),
    "int8, sync-free": partial(_banks, implementation=SYNC_FREE, quantise="int8"),
    "nf4": partial(_banks, implementation=IMPLEMENTATION, quantise="nf4"),
    "full": _full,
}


def _compare(context: Context, model: Any, dtype: torch.dtype, what: str, avoided: bool = False) -> None:
    """One layer's experts on drawn tokens: output, gradients of inputs, gates and trained weights."""
    experts, limit = model.model.layers[_LAYER].mlp.experts, _LIMITS[dtype]
    generator = torch.Generator().manual_seed(1)
    _shake(experts, generator)
    shape = checked_shape(context)
    tokens = context.scale.tokens

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator).to(context.device, dtype)

    hidden, gates, outer = draw(tokens, shape.hidden), draw(tokens, shape.top_k).softmax(-1), draw(tokens, shape.hidden)
    preference = torch.rand(tokens, shape.experts, generator=generator)
    if avoided:
        preference[:, some_experts(shape.experts)] = -1.0
    index = preference.topk(shape.top_k).indices.to(context.device)
    trained = {name: p for name, p in experts.named_parameters() if p.requires_grad}

    def run(compute: Callable[[Tensor, Tensor], Tensor], wide: torch.dtype) -> dict[str, Tensor]:
        experts.zero_grad(set_to_none=True)
        x, g = (value.detach().to(wide).requires_grad_() for value in (hidden, gates))
        out = compute(x, g)
        out.backward(outer.to(out.dtype))
        found = {"output": out, "gradient of inputs": x.grad, "gradient of gates": g.grad}
        for name, parameter in trained.items():
            found[f"gradient of {name.removeprefix('trained_bank.')}"] = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
        return {name: value.detach().clone() for name, value in found.items() if value is not None}

    weight_of = weights_of(experts, dtype)
    expected = run(lambda x, g: plain_loop(experts, weight_of, x, index, g), torch.float32)
    found = run(lambda x, g: experts(x, index, g), dtype)
    for name, value in expected.items():
        if avoided and name.startswith("gradient of") and name not in ("gradient of inputs", "gradient of gates"):
            context.outcome.true(f"{what}: {name} is zero", not bool(found[name].any()))
        else:
            context.outcome.near(f"{what}: {name}", found[name], value, limit)


def _shake(experts: Any, generator: torch.Generator) -> None:
    """Move what trains away from where it starts, where B of a low-rank update is zero."""
    with torch.no_grad():
        for name, parameter in experts.named_parameters():
            if parameter.requires_grad and name.startswith("trained_bank."):
                size = float(parameter.abs().mean()) or 0.02
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.3 * size * noise.to(parameter.device))
