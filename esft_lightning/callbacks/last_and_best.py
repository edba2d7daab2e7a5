"""Lightning's checkpoint callback, whose `last.ckpt` is the last state, whether or not validation improved."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class LastAndBestCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` that writes `last.ckpt` at every validation and when training ends.

    Lightning writes it only where the monitored value improved: a run that overfits would go on from its best
    validation, one whose validation is NaN from its first. Without validation rows it is written after every epoch.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what is best, then what is last."""
        super().on_validation_end(trainer, pl_module)
        self._save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save as Lightning does; what is last, too, where no validation will."""
        super().on_train_epoch_end(trainer, pl_module)
        if not trainer.enable_validation or not sum(trainer.num_val_batches):
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the steps behind the last validation."""
        self._save_last(trainer)
        super().on_train_end(trainer, pl_module)

    def _save_last(self, trainer: Trainer) -> None:
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
