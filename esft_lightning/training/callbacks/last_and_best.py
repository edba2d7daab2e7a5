"""Lightning's checkpoint callback, whose `last.ckpt` is the last state, whether or not validation improved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from esft_lightning.storage import whole_file
from esft_lightning.training.callbacks.best_validation import LOSS, SCORE, monitored


class LastAndBestCheckpoint(ModelCheckpoint):
    """`ModelCheckpoint` that writes `last.ckpt` at every validation and when training ends.

    Lightning writes it only where the monitored value improved: a run that overfits would go on from its best
    validation, one whose validation is NaN from its first. Without validation rows it is written after every epoch.

    Told to monitor `val/loss`, it monitors `val/score` where validation rows are answered (`ValidationScore` among the
    callbacks), as the adapter of the best validation does.

    A resumed run knows the best validation of the run before it, and takes its checkpoint into its own folder.
    """

    _ended = False  # whether this fit has saved what it leaves at its end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the score on validation rows for the best one's measure, where there is one."""
        if self.monitor == LOSS and monitored(trainer.callbacks) == SCORE:  # type: ignore[attr-defined]
            self.monitor, self.mode, self.kth_value = SCORE, "max", torch.tensor(-torch.inf)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring along the best checkpoint of the run that is resumed: it is this run's best until a better one."""
        super().on_train_start(trainer, pl_module)
        self._ended = False
        came_from = Path(self.best_model_path)
        if not self.best_model_path or not self.dirpath or came_from.parent.absolute() == Path(self.dirpath).absolute():
            return
        own = Path(self.dirpath) / came_from.name
        if trainer.is_global_zero and came_from.is_file() and not own.exists():
            with whole_file(own) as temporary:
                shutil.copyfile(came_from, temporary)
        if not trainer.strategy.broadcast(own.is_file()):
            return
        renamed = {str(came_from): str(own)}
        self.best_k_models = {renamed.get(path, path): value for path, value in self.best_k_models.items()}
        self.kth_best_model_path = renamed.get(self.kth_best_model_path, self.kth_best_model_path)
        self.best_model_path = str(own)

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
        self._ended = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where a checkpoint had nothing left to train: the run's own folder then has its last and its best."""
        if not self._ended:
            self.on_train_start(trainer, pl_module)
            self.on_train_end(trainer, pl_module)

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
