"""A training step of each contender of a line-up, at 10 % of the experts selected: time, memory, what is stored."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.line_up import LINE_UPS
from benchmarks.measure import measure_shape
from benchmarks.shapes import shape_of, share_of

SHARE = 0.1


def measure(line_up: str, shape_name: str, dtype: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure one shape in one dtype.

    Args:
        line_up: `steps` or `alternatives`, of `line_up.LINE_UPS`.
        shape_name: `tiny`, `olmoe` or `deepseek`.
        dtype: `float32` or `bfloat16`.
        quick: Take a very small model of that family, and few steps.
        threads: Threads of each contender.

    Returns:
        As `measure_shape`.
    """
    shape = shape_of(shape_name, quick)
    contenders = LINE_UPS[line_up]()
    counts = [share_of(shape, SHARE)] * len(contenders)
    steps = 2 if quick else 40 if shape_name == "tiny" else 9
    # Every contender has taken two steps before, when its memory was looked at.
    warm_up = 2 if shape_name == "tiny" else 1
    return measure_shape(
        shape, getattr(torch, dtype), contenders, counts, steps=steps, warm_up=warm_up, threads=threads
    )
