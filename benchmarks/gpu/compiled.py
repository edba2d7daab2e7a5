"""`torch.compile` of a layer with trained experts: one graph, the same outputs and gradients, and how fast it is."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.gpu.models import checked_shape, drawn_shape, some_experts
from benchmarks.gpu.part import Context, SkippedError
from benchmarks.gpu.timed import timed
from esft_lightning.moe import SYNC_FREE, install_banks


def check_compiled(context: Context) -> None:
    """The sync-free forward in bf16, by inductor on a GPU and by eager kernels elsewhere."""
    if context.on_gpu and (find_spec("triton") is None or not (shutil.which("gcc") or shutil.which("cc"))):
        raise SkippedError("inductor needs triton and a C compiler")
    backend = "inductor" if context.on_gpu else "aot_eager"
    shape = checked_shape(context)
    model: Any = drawn_shape(shape, torch.bfloat16, context.device)
    install_banks(model, {1: some_experts(context.scale.experts)})
    model.set_experts_implementation(SYNC_FREE)
    layer = model.model.layers[1].mlp
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    hidden, outer = (
        torch.randn(2, context.scale.tokens // 2, shape.hidden, device=context.device).to(torch.bfloat16)
        for _ in range(2)
    )

    def step(one: Any) -> list[torch.Tensor]:
        layer.zero_grad(set_to_none=True)
        out = one(hidden)
        out.backward(outer)
        return [out, *(parameter.grad for parameter in layer.experts.trained_bank.parameters())]

    for name, mine, theirs in zip(("output", "gradient", "gradient"), step(compiled), step(layer), strict=True):
        context.outcome.near(f"{name} by {backend}", mine, theirs, 2e-2)
    for what, one in (("eager", layer), (backend, compiled)):
        found = timed(context, lambda one=one: step(one), steps=5 if context.on_gpu else 1, warm_up=1)
        context.row(layer=what, seconds=round(found["seconds"], 5))
