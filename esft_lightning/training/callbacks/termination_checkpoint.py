"""An orderly end: SIGTERM or Ctrl-C saves a checkpoint at the next optimizer step, then the process leaves."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from esft_lightning.training.run_folder import CHECKPOINTS, run_folder

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TerminationCheckpoint(Callback):
    """Saves `checkpoints/terminated.ckpt` when the process is asked to end, and ends with exit code 143 (Ctrl-C: 130).

    Lightning leaves after any batch; in the middle of an accumulation window that would lose the gradients gathered so
    far, and the resumed run would differ. This waits for the window's optimizer step, or for the end of a running
    validation, and only then saves and leaves. The same signal once more ends the process at once.
    """

    def __init__(self, filename: str = "terminated.ckpt") -> None:
        """Set the file's name.

        Args:
            filename: Name of the checkpoint inside the run's `checkpoints` folder.
        """
        self.filename = filename
        self._asked = 0  # the signal that was heard; 0 for none
        self._previous: dict[int, Any] = {}
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGTERM from Lightning, which may have heard one already, and Ctrl-C from Python."""
        self._asked = signal.SIGTERM if trainer.received_sigterm else 0
        self._steps = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, lambda heard, frame: self._note(trainer, heard))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave if asked to and an optimizer step has just been taken."""
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._leave_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave if asked to during validation, with what it found best."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._previous:
            self._leave_if_asked(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _note(self, trainer: Trainer, number: int) -> None:
        if self._asked == number:
            raise SIGTERMException(128 + number)
        self._asked = self._asked or number
        if number == signal.SIGINT:
            # A terminal sends Ctrl-C to all processes; after a signal handler only plain writing is safe.
            if trainer.is_global_zero:
                sys.stderr.write("\nA checkpoint is saved at the next step; Ctrl-C once more leaves without.\n")
            return
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGTERM)  # the processes that this one started

    def _leave_if_asked(self, trainer: Trainer, validated: LightningModule | None = None) -> None:
        # One rank may have been asked a step before another; saving and leaving is for all of them together.
        if not trainer.strategy.reduce_boolean_decision(bool(self._asked), all=False):
            return
        if validated is not None:
            for callback in trainer.checkpoint_callbacks:  # Lightning keeps them for last
                callback.on_validation_end(trainer, validated)
        path = run_folder(trainer) / CHECKPOINTS / self.filename
        trainer.save_checkpoint(path)
        number = signal.Signals(self._asked or signal.SIGTERM)
        rank_zero_info(
            f"Asked to end ({number.name}); saved {path} at step {trainer.global_step}. Go on with --ckpt_path {path}"
        )
        raise SIGTERMException(128 + number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
