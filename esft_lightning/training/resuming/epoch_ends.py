"""Where a run goes on whose checkpoint was saved behind an epoch's loop: at the end of an epoch, or of training.

Lightning counts an epoch as processed when its loop is left, whether its rows were all read or `max_steps` was reached.
Going on, it never reads the rows that were left, and from a checkpoint of an epoch's end it reads a batch of the
next epoch as if that belonged to the last.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from esft_lightning.training.resuming.whole_windows import counted


def settle_epoch(checkpoint: dict[str, Any], trainer: Trainer) -> bool:
    """Let a checkpoint say that its epoch is over and the next has not begun, or that it is still in its epoch.

    Args:
        checkpoint: Lightning's; its counts are rewritten.
        trainer: The run that loads it.

    Returns:
        Whether it was saved behind an epoch's loop.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    if epochs["current"]["processed"] < epochs["current"]["started"]:
        return False  # inside its epoch
    limit = trainer.limit_train_batches  # type: ignore[attr-defined]
    if batches["is_last_batch"] or (isinstance(limit, int) and batches["current"]["ready"] >= limit):
        for counts in (epochs["current"], epochs["total"]):
            counts["completed"] = counts["processed"]
        batches["current"], batches["is_last_batch"] = counted(0), False
    else:
        for counts in (epochs["current"], epochs["total"]):
            counts["processed"] -= 1
            counts["completed"] = min(counts["completed"], counts["processed"])
    return True
