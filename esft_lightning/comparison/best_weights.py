"""The weights of the lowest validation loss, back in the model when training ends."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class BestWeights(Callback):
    """Keeps a copy of what is trained at every new lowest `val/loss`, and puts it back when training ends.

    The paper's code keeps the checkpoint of the best validation loss. The copy lies in the host's memory, as large as
    the trained parameters.

    Attributes:
        loss: Lowest validation loss so far, nats per labelled token.
        step: Optimizer steps after which it was measured; 0 before the first validation.
    """

    def __init__(self) -> None:
        """Start without a validation."""
        self.loss = float("inf")
        self.step = 0
        self._kept: dict[str, torch.Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights if this validation was the best."""
        loss = trainer.callback_metrics.get("val/loss")
        if trainer.sanity_checking or loss is None or not float(loss) < self.loss:
            return
        self.loss, self.step = float(loss), trainer.global_step
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
