"""Tokens a second, read where the Trainer logs and nowhere else: reading them waits for the device."""

from __future__ import annotations

import time

import torch
from torch import Tensor


class TrainingSpeed:
    """Adds up tokens on the device, and seconds in which batches were at work; validation and saving do not count."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._tokens: Tensor | None = None
        self._seconds = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """A batch begins."""
        self._started = time.perf_counter()

    def add(self, tokens: Tensor) -> None:
        """Count tokens.

        Args:
            tokens: How many, a scalar on any device; not read.
        """
        self._tokens = tokens if self._tokens is None else self._tokens + tokens

    def stop(self) -> None:
        """A batch ends, as far as the host knows."""
        if self._started is not None:
            self._seconds += time.perf_counter() - self._started
            self._started = None

    def read(self) -> Tensor:
        """Tokens a second since the last reading, on the host; waits for the device, and counts that."""
        tokens = 0.0 if self._tokens is None else float(self._tokens)
        self.stop()
        speed = torch.tensor(tokens / max(self._seconds, 1e-9))
        self._tokens, self._seconds = None, 0.0
        return speed
