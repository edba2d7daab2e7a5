"""Evaluation mode for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and back in the mode that it had. Gradients are the caller's business.

    Args:
        model: Any module.
    """
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
