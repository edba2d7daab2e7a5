"""Does a step's overhead grow with the number of experts? 8 to 512 of them at constant active work.

Two selections at each size: a constant number of experts, so that trained parameters stay the same, and 10 % of them,
so that the rows which train stay the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from benchmarks.line_up import esft, floor, frozen
from benchmarks.measure import measure_shape
from benchmarks.shapes import SWEEP, share_of, small

EXPERTS = (8, 16, 32, 64, 128, 256, 512)
COUNT = 6
SHARE = 0.1


def measure(dtype: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure every size in one dtype.

    Args:
        dtype: `float32` or `bfloat16`.
        quick: Take very small layers, two sizes and few steps.
        threads: Threads of each contender.

    Returns:
        `sizes`: number of experts → as `measure_shape`.
    """
    base = small(SWEEP) if quick else SWEEP
    sizes = {}
    for experts in (16, 64) if quick else EXPERTS:
        shape = replace(base, experts=experts)
        share = share_of(shape, SHARE)
        contenders = [
            frozen(),
            esft(f"ESFT, {COUNT} experts"),
            floor(f"floor, {COUNT} experts"),
            esft("ESFT, 10 %"),
            floor("floor, 10 %"),
        ]
        counts = [0, COUNT, COUNT, share, share]
        steps = 2 if quick else 15
        sizes[str(experts)] = measure_shape(
            shape, getattr(torch, dtype), contenders, counts, steps=steps, threads=threads
        )
    return {"sizes": sizes}
