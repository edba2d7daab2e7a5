"""Seconds, tokens a second and peak memory: a step of published layers by every contender, and a profile."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.contenders import Contender, PerExpertLoop, Strategy
from benchmarks.gpu.models import drawn_shape, measured_shapes
from benchmarks.gpu.part import Context
from benchmarks.gpu.timed import free, timed
from benchmarks.line_up import esft, floor, frozen, full, mask, routed_lora
from benchmarks.shapes import Shape, make_batch, most_used, share_of
from benchmarks.targets import LOOP
from esft_lightning.data.host_side import known_on_host
from esft_lightning.moe import SYNC_FREE, find_decoder
from esft_lightning.moe.described_products import described_products
from esft_lightning.profiling.measurement import measure_affinity
from esft_lightning.strategies import ESFTToken, LoRA

_SHARE = 0.1  # of the experts, selected


class _SyncFree(Strategy):
    """ESFT without a wait for the device."""

    def prepare(self, model: Any, selection: Any, batch: Any) -> None:
        super().prepare(model, selection, batch)
        self.model.set_experts_implementation(SYNC_FREE)


def _contenders() -> list[Contender]:
    return [
        frozen(), floor(), esft(), _SyncFree("ESFT, sync-free", ESFTToken), full(), Strategy("LoRA", LoRA),
        routed_lora(), mask(), PerExpertLoop(LOOP),
    ]  # fmt: skip


def measure_layers(context: Context) -> None:
    """Each contender on a fresh model of OLMoE's and of V2-Lite's layers in bf16."""
    dtype = torch.bfloat16 if context.on_gpu else torch.float32
    for shape in measured_shapes(context):
        batch = _batch(context, shape)
        seconds: dict[str, float] = {}
        for contender in _contenders():
            label = contender.label
            if context.left < 0:
                context.outcome.skipped(f"{shape.name}: {label}", "no time was left")
                continue
            model: Any = drawn_shape(shape, dtype, context.device)
            selection = most_used(model, batch, share_of(shape, _SHARE))
            weights = sum(parameter.nbytes for parameter in model.parameters())
            context.outcome.facts.setdefault(f"products, {shape.name}", described_products(model))
            try:
                contender.prepare(model, selection, batch)
                found = timed(context, lambda c=contender, b=batch: c.step(b), steps=context.scale.steps)
            except torch.OutOfMemoryError:
                context.outcome.skipped(f"{shape.name}: {label}", "the device has not enough memory")
                found = None
            if found is not None:
                seconds[label] = found["seconds"]
                _add_row(context, shape, label, found, weights, seconds)
            vars(contender).clear()  # model, optimizer, captured rows
            del model
            free(context)


def _add_row(
    context: Context, shape: Shape, label: str, found: dict[str, float], weights: int, seconds: dict[str, float]
) -> None:
    least = seconds.get("floor", 0.0)
    context.row(
        shape=shape.name, contender=label, seconds=round(found["seconds"], 5),
        **{
            "tokens/s": round(shape.tokens / found["seconds"]),
            "× floor": round(found["seconds"] / least, 2) if least else "",
            "peak, GB": round(found["peak_bytes"] / 1e9, 2) if found["peak_bytes"] else "",
            "weights, GB": round(weights / 1e9, 2),
        },
    )  # fmt: skip


def _batch(context: Context, shape: Shape) -> dict[str, Any]:
    batch: dict[str, Any] = known_on_host(dict(make_batch(shape)), pin=context.on_gpu)
    return {name: value.to(context.device) if torch.is_tensor(value) else value for name, value in batch.items()}


def measure_profiling(context: Context) -> None:
    """The profiling pass and a plain forward of the same batches, in turn."""
    shape = measured_shapes(context)[0]
    model = drawn_shape(shape, torch.bfloat16 if context.on_gpu else torch.float32, context.device).eval()
    count = max(2, context.scale.profile_tokens // shape.tokens)
    batches = [make_batch(shape, seed) for seed in range(min(4, count))] * (count // min(4, count))
    decoder = find_decoder(model)

    def plain() -> None:
        with torch.no_grad():
            for batch in batches:
                decoder(input_ids=batch["input_ids"].to(context.device), use_cache=False)

    tokens = shape.tokens * len(batches)
    found = {
        "plain forward": timed(context, plain, steps=3, warm_up=1),
        "profile": timed(context, lambda: measure_affinity(model, batches, token_budget=10**12), steps=3, warm_up=1),
    }
    for what, one in found.items():
        context.row(
            what=what, seconds=round(one["seconds"], 4), tokens=tokens,
            **{"tokens/s": round(tokens / one["seconds"]),
               "× plain": round(one["seconds"] / found["plain forward"]["seconds"], 3)},
        )  # fmt: skip
