"""Accumulation windows and checkpoints: no checkpoint is taken out of the middle of an optimizer step.

The gradients of micro-batches that were read, and not yet stepped, are in no checkpoint. So a validation that falls due
inside a window waits for its end, and a checkpoint that is saved there all the same (by a clock, by a callback of
yours) is one of the window's start: weights and optimizer are still those, and its micro-batches are read again.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from esft_lightning.data.loader import PackedLoader


def counted(batches: int) -> dict[str, int]:
    """Lightning's counts of a place behind so many batches, all of them over."""
    return dict.fromkeys(("ready", "started", "processed", "completed"), batches)


def validate_at_window_ends(trainer: Trainer) -> None:
    """Let validations wait for the optimizer step of the window in which they fall due.

    Args:
        trainer: Before it fits; its loop is asked anew whether to validate.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    falls_due = type(loop)._should_check_val_fx

    def is_due(fetcher: Any) -> bool:
        if loop._should_accumulate() and not trainer.should_stop:
            return False
        return falls_due(loop, fetcher) or _fell_due_inside(trainer)

    loop._should_check_val_fx = is_due


def _fell_due_inside(trainer: Trainer) -> bool:
    """Whether a count of batches at which to validate lies in the window that ends now."""
    loop: Any = trainer.fit_loop.epoch_loop
    every = trainer.val_check_batch  # type: ignore[attr-defined]
    by_clock = getattr(trainer, "_val_check_time_interval", None) is not None
    if by_clock or every in (None, float("inf")) or not loop._should_check_val_epoch():
        return False
    ready = loop.batch_progress.current.ready
    size = ready - (ready - 1) // trainer.accumulate_grad_batches * trainer.accumulate_grad_batches if ready else 0
    count = loop.batch_progress.total.ready if trainer.check_val_every_n_epoch is None else ready  # type: ignore[attr-defined]
    return count // every > (count - size) // every


class OpenWindow:
    """Where the window at hand began, and a checkpoint taken back to it.

    Attributes:
        start: The optimizer step at which the latest window began, and the batches of the epoch read before it.
    """

    def __init__(self) -> None:
        """Start outside of any window."""
        self.start: tuple[int, int] | None = None

    def note(self, trainer: Trainer) -> None:
        """Remember where a window begins; called as each of its batches begins."""
        step, ready = trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if self.start is None or self.start[0] != step or self.start[1] >= ready:
            self.start = (step, ready - 1)

    def take_back(self, checkpoint: dict[str, Any], trainer: Trainer) -> bool:
        """Bring a checkpoint's place back to the window's start, where its step has not been taken.

        Args:
            checkpoint: Lightning's, with its loops.
            trainer: That saves it.

        Returns:
            Whether it was brought back.
        """
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        target = progress.ready
        if self.start is not None and self.start[0] == trainer.global_step and self.start[1] < progress.ready:
            target = self.start[1]
        elif progress.started < progress.ready:
            target = progress.ready - 1  # a batch that was fetched, and not yet begun
        if target == progress.ready:
            return False
        loader = _loader(trainer)
        loops = checkpoint["loops"]["fit_loop"]
        if loader is None:
            rank_zero_warn(
                f"a checkpoint was saved inside an accumulation window, after {progress.ready - target} of its "
                "micro-batches; a run that goes on from it leaves them out, since the loader is not a DataModule's"
            )
            return False
        counts = loops["epoch_loop.batch_progress"]
        total = counts["total"]["ready"] - (progress.ready - target)
        counts["current"], counts["total"] = counted(target), counted(total)
        counts["is_last_batch"] = False
        loops["state_dict"]["combined_loader"] = [loader.place_behind(target)]
        return True


def _loader(trainer: Trainer) -> PackedLoader | None:
    combined = trainer.fit_loop._combined_loader
    loader = None if combined is None else combined.flattened[0]
    return loader if isinstance(loader, PackedLoader) else None


def count_step_once(trainer: Trainer) -> None:
    """Take back the step that Lightning counts once more where it passes by a validation that is over.

    For checkpoints that were saved when the step before them had been counted: their loggers would be a step ahead.

    Args:
        trainer: At the start of training, its loops restored.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if loop.restarting and loop._should_check_val_fx(None):
        loop._batches_that_stepped -= 1
