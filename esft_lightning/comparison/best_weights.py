"""The weights of the best validation, back in the model when training ends."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from esft_lightning.training.callbacks.best_validation import BestValidation


class BestWeights(Callback):
    """Keeps a copy of what is trained at every new best validation, and puts it back when training ends.

    The copy lies in the host's memory, as large as the trained parameters.

    Attributes:
        best: The best validation so far.
        step: Optimizer steps after which it was; 0 before the first validation.
    """

    def __init__(self) -> None:
        """Start without a validation."""
        self.best = BestValidation()
        self.step = 0
        self._kept: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if this validation was the best."""
        improved = not trainer.sanity_checking and self.best.improves(trainer.callback_metrics, trainer.callbacks)  # type: ignore[attr-defined]
        if not improved:
            return
        self.step = trainer.global_step
        self._kept = {name: weight.detach().cpu().clone() for name, weight in _trained(pl_module).items()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the kept weights back, where there was a validation."""
        trained = _trained(pl_module)
        with torch.no_grad():
            for name, weight in self._kept.items():
                trained[name].copy_(weight)
        self._kept = {}


def _trained(module: LightningModule) -> dict[str, Any]:
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
