"""Lightning's checkpoint callback, whose `last.ckpt` is the last state, whether or not validation improved."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from esft_lightning.training.callbacks.best_validation import LOSS, SCORE, monitored


class LastAndBestCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` that writes `last.ckpt` at every validation and when training ends.

    Lightning writes it only where the monitored value improved: a run that overfits would go on from its best
    validation, one whose validation is NaN from its first. Without validation rows it is written after every epoch.

    Told to monitor `val/loss`, it monitors `val/score` where validation rows are answered (`ValidationScore` among the
    callbacks), as the adapter of the best validation does.

    A resumed run knows the best validation of the run before it, whose folder that checkpoint stays in.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the score on validation rows for the best one's measure, where there is one."""
        if self.monitor == LOSS and monitored(trainer.callbacks) == SCORE:  # type: ignore[attr-defined]
            self.monitor, self.mode, self.kth_value = SCORE, "max", torch.tensor(-torch.inf)
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what is best, then what is last."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):  # else what is best is saved there, and first
            self._save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save as Lightning does; what is last, too, where no validation does."""
        super().on_train_epoch_end(trainer, pl_module)
        validated = trainer.enable_validation and sum(trainer.num_val_batches)
        if not validated or self._should_save_on_train_epoch_end(trainer):
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the steps behind the last validation."""
        self._save_last(trainer)
        super().on_train_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was best, also from another folder, where Lightning would take the next validation for it."""
        own, self.dirpath = self.dirpath, state_dict.get("dirpath", self.dirpath)
        super().load_state_dict(state_dict)
        if self.dirpath != own:
            self.dirpath, self.last_model_path = own, ""

    def _save_last(self, trainer: Trainer) -> None:
        if not self.save_last or self._should_skip_saving_checkpoint(trainer):
            return
        kind, self.save_last = self.save_last, True  # a link would name what was saved before
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        self.save_last = kind
