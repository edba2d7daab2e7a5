"""Which validation is the best: the one rule by which checkpoints, adapters and comparisons keep weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback

from esft_lightning.training.callbacks.validation_score import ValidationScore

SCORE, LOSS = "val/score", "val/loss"


def monitored(callbacks: Sequence[Callback]) -> str:
    """What decides with these callbacks: `val/score` where validation rows are answered, else `val/loss`."""
    return SCORE if any(isinstance(callback, ValidationScore) for callback in callbacks) else LOSS


class BestValidation:
    """The best validation of a run so far: the highest score, or the lowest loss; of equal ones the first.

    Attributes:
        value: Its score in [0, 1], or its loss in nats per labelled token; None before the first validation.
    """

    def __init__(self) -> None:
        """Start without a validation."""
        self.value: float | None = None

    def improves(self, metrics: Mapping[str, Any], callbacks: Sequence[Callback]) -> bool:
        """Whether this validation is the best so far; if it is, it is remembered.

        Args:
            metrics: The Trainer's metrics after the validation.
            callbacks: The Trainer's callbacks, which say what decides.
        """
        name = monitored(callbacks)
        if name not in metrics:
            return False
        value = float(metrics[name])
        sign = 1 if name == SCORE else -1
        if self.value is None:
            better = value == value  # not for a NaN
        else:
            better = sign * value > sign * self.value
        if better:
            self.value = value
        return better
