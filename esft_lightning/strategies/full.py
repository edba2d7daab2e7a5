"""Full fine-tuning: every parameter trains."""

from __future__ import annotations

from typing import ClassVar

from transformers import PreTrainedModel

from esft_lightning.affinity import ExpertSelection
from esft_lightning.strategies.base import FineTuningStrategy


class FullFineTuning(FineTuningStrategy):
    """Train every parameter, router included: the paper's FFT.

    The paper's rate is 3e-5. The router is trained without an auxiliary loss, as in the paper's fine-tuning.
    """

    default_learning_rate: ClassVar[float] = 3e-5

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Open everything."""
        model.requires_grad_(True)
