"""Seconds and peak memory of steps: by CUDA's own events on a GPU, by the clock elsewhere."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.part import Context


def timed(context: Context, step: Callable[[], Any], *, steps: int, warm_up: int = 2) -> dict[str, float]:
    """Take steps.

    Args:
        context: Where.
        step: One step.
        steps: How many are measured; fewer where the part runs out of time.
        warm_up: How many before them.

    Returns:
        `seconds`, the median, and `peak_bytes`, the most allocated on a GPU (0 elsewhere).
    """
    gc.collect()
    for _ in range(warm_up):
        step()
    if context.on_gpu:
        torch.cuda.synchronize(context.device)
        torch.cuda.reset_peak_memory_stats(context.device)
    seconds: list[float] = []
    for _ in range(steps):
        seconds.append(_once(context, step))
        if context.left < 0:
            break
    peak = torch.cuda.max_memory_allocated(context.device) if context.on_gpu else 0
    return {"seconds": statistics.median(seconds), "peak_bytes": peak}


def _once(context: Context, step: Callable[[], Any]) -> float:
    if not context.on_gpu:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1000


def matmul_rate(context: Context, size: int, dtype: torch.dtype) -> float:
    """10¹² floating-point operations a second of a square matrix product."""
    one, other = (torch.randn(size, size, device=context.device).to(dtype) for _ in range(2))
    found = timed(context, lambda: one @ other, steps=5 if context.on_gpu else 1)
    return 2 * size**3 / found["seconds"] / 1e12


def free(context: Context) -> None:
    """Give back what nobody holds any more, so that the next peak is its own."""
    gc.collect()
    if context.on_gpu:
        torch.cuda.empty_cache()
