"""TensorBoard's logger, which writes to disk by the clock and not by the step."""

from __future__ import annotations

from time import monotonic

from lightning.pytorch.loggers import TensorBoardLogger

_SECONDS = 1.0  # what a reader of a running experiment waits at most


class RunLogger(TensorBoardLogger):
    """Lightning flushes the event file at every logged step; on small models that is a step's hundredth.

    What is logged reaches the disk with the first step that is logged a second after the last flush, and when the run
    ends, unless it is killed.
    """

    _flushed = -_SECONDS

    def save(self) -> None:
        """Flush, and write the hyperparameters where they are missing, unless that was done a moment ago."""
        now = monotonic()
        if now - self._flushed >= _SECONDS:
            self._flushed = now
            super().save()
