"""Where a step's time goes, by kinds of operators: what stands in the way where a target is not met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import Contender
from benchmarks.line_up import esft, floor, frozen, full, mask, routed_lora
from benchmarks.measure import is_large
from benchmarks.own_process import in_a_process
from benchmarks.shapes import Shape, build_model, make_batch, most_used, shape_of, share_of
from benchmarks.steps import SHARE
from benchmarks.timing import median
from esft_lightning.moe.kept_memory import give_back_freed

EXPERTS, OTHER_PRODUCTS, REST = "experts' products", "other products", "everything else"
_KINDS = {
    "attention": ("_scaled_dot_product", "_flash_attention", "_efficient_attention"),
    "optimizer": ("_fused_adamw",),
    "loss": ("_log_softmax", "nll_loss", "argmax"),
    "rows gathered, sorted, put back": (
        "index", "_index_put_impl_", "cat", "sort", "gather", "scatter", "topk", "histc", "bincount", "cumsum",
        "nonzero",
    ),
    "copies and zeros": ("copy_", "fill_", "zero_"),
    "elementwise": (
        "mul", "add", "sub", "div", "silu", "sigmoid", "softmax", "_softmax", "pow", "rsqrt", "mean", "sum", "where",
        "neg",
    ),
}  # fmt: skip
KINDS = (EXPERTS, OTHER_PRODUCTS, *_KINDS, REST)
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm")


def measure(shape_name: str, dtype: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Profile steps of ESFT, its floor, the frozen model and what a user would do instead on one shape.

    Args:
        shape_name: `tiny`, `olmoe` or `deepseek`.
        dtype: `float32` or `bfloat16`.
        quick: Take a very small model of that family.
        threads: Threads of torch.

    Returns:
        `shape`, `dtype`, `steps`, and `contenders`: label → `seconds` of a step by kind (medians over steps), and its
        `flops` in products of matrices.
    """
    shape = shape_of(shape_name, quick)
    steps = 1 if quick else 5 if shape_name == "tiny" else 3
    # A process each, as where steps are timed: what one leaves in the C library's heap would save the next page faults.
    # Forked before anything is computed: a new interpreter would inherit the one core that this thread is bound to.
    contenders = dict(
        in_a_process(_profiled, make, shape, dtype, steps, threads, start="fork")
        for make in (esft, floor, frozen, full, mask, routed_lora)
    )
    return {"shape": shape_name, "dtype": dtype, "steps": steps, "contenders": contenders}


def _profiled(
    make: Callable[[], Contender], shape: Shape, dtype: str, steps: int, threads: int
) -> tuple[str, dict[str, Any]]:
    torch.set_num_threads(threads)
    batch, model, contender = make_batch(shape), build_model(shape, getattr(torch, dtype)), make()
    large = is_large(model)
    contender.prepare(model, most_used(model, batch, share_of(shape, SHARE)), batch)
    for _ in range(2):
        contender.step(batch)
    seconds, flops = [], 0
    for _ in range(steps):
        if large:
            give_back_freed()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as recorded:
            contender.step(batch)
        events = recorded.events() or []
        seconds.append(seconds_by_kind(events))
        flops = sum(event.flops or 0 for event in events)
    return contender.label, {
        "seconds": {kind: median([one[kind] for one in seconds]) for kind in KINDS},
        "flops": flops,
    }


def seconds_by_kind(events: Iterable[FunctionEvent]) -> dict[str, float]:
    """Sum up the time that operators spend in themselves, not in others that they call.

    Args:
        events: As a profiler recorded them.

    Returns:
        Seconds by every one of `KINDS`.
    """
    seconds = dict.fromkeys(KINDS, 0.0)
    for event in events:
        seconds[_kind(event)] += event.self_cpu_time_total / 1e6
    return seconds


def _kind(event: FunctionEvent) -> str:
    name = event.name.removeprefix("aten::")
    if name in _PRODUCTS:
        return EXPERTS if _inside_grouped_product(event) else OTHER_PRODUCTS
    for kind, beginnings in _KINDS.items():
        if event.name != name and name.startswith(beginnings):
            return kind
    return REST


def _inside_grouped_product(event: FunctionEvent | None) -> bool:
    while event is not None:
        if event.name == "aten::_grouped_mm":
            return True
        event = event.cpu_parent
    return False
