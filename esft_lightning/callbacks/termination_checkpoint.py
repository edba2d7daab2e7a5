"""An orderly end: SIGTERM saves a checkpoint at the next optimizer step, then the process leaves."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_info

EXIT_CODE = 128 + signal.SIGTERM


class TerminationCheckpoint(Callback):
    """Saves `checkpoints/terminated.ckpt` when the process is asked to end, and ends with exit code 143.

    Lightning leaves after any batch; in the middle of an accumulation window that would lose the gradients gathered so
    far, and the resumed run would differ. This waits for the window's optimizer step, or for the end of a running
    validation, and only then saves and leaves. A second SIGTERM ends the process at once.
    """

    def __init__(self, filename: str = "terminated.ckpt") -> None:
        """Set the file's name.

        Args:
            filename: Name of the checkpoint inside the run's `checkpoints` folder.
        """
        self.filename = filename
        self._asked = False
        self._previous: Any = None
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGTERM from Lightning, which may have heard one already."""
        self._asked = trainer.received_sigterm
        self._steps = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, lambda number, frame: self._note(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave if asked to and an optimizer step has just been taken."""
        if trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self._leave_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave if asked to during validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._previous is not None:
            self._leave_if_asked(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give SIGTERM back."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give SIGTERM back."""
        self._restore()

    def _note(self, trainer: Trainer) -> None:
        if self._asked:
            raise SIGTERMException(EXIT_CODE)
        self._asked = True
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGTERM)  # the processes that this one started

    def _leave_if_asked(self, trainer: Trainer) -> None:
        # One rank may have been asked a step before another; saving and leaving is for all of them together.
        if not trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
        path = folder / self.filename
        trainer.save_checkpoint(path)
        rank_zero_info(
            f"Asked to end (SIGTERM); saved {path} at step {trainer.global_step}. Go on with --ckpt_path {path}"
        )
        raise SIGTERMException(EXIT_CODE)

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None
