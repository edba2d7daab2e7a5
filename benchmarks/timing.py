"""Figures from seconds: medians, quartiles, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch


def clock(device: torch.device | None = None) -> float:
    """Seconds, once the device has done all it was given: without that, a GPU's work would count to whoever waits.

    Args:
        device: Where the work is done; None where it is the CPU.
    """
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median(seconds: Sequence[float]) -> float:
    """The median."""
    return statistics.median(seconds)


def quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return low, middle, high


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """Median over rounds of the one's seconds over the other's: what slows a round down slows both.

    Args:
        these: Seconds in every round.
        those: As many, from the same rounds.
    """
    return statistics.median(ours / theirs for ours, theirs in zip(these, those, strict=True))
