"""What does a step cost by the share of experts that train, from none to all of them?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from benchmarks.contenders import Contender
from benchmarks.line_up import esft, floor, full
from benchmarks.measure import measure_shape
from benchmarks.shapes import OLMOE, share_of, small

SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)


def measure(dtype: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure every share in one dtype, all in the same rounds.

    Args:
        dtype: `float32` or `bfloat16`.
        quick: Take a very small model, and few steps.
        threads: Threads of each contender.

    Returns:
        As `measure_shape`; labels end in the share in per cent.
    """
    shape = small(OLMOE) if quick else replace(OLMOE, layers=2, rows=2)
    contenders: list[Contender] = [full()]
    counts = [0]
    for share in SHARES:
        contenders += [esft(f"ESFT, {share:.0%}"), floor(f"floor, {share:.0%}")]
        counts += [share_of(shape, share)] * 2
    steps = 2 if quick else 15
    return measure_shape(shape, getattr(torch, dtype), contenders, counts, steps=steps, threads=threads)
