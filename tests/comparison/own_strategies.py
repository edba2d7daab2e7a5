"""Strategies from outside the package, as a user would write them; one of them brings its process down."""

import os
import signal

from esft_lightning.strategies import FineTuningStrategy


class NormsOnly(FineTuningStrategy):
    """Trains the norms."""

    def make_trainable(self, model, selection=None):
        """Open what is called a norm."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("norm" in name)


class Crash(FineTuningStrategy):
    """Is killed, as by the system when memory runs out."""

    def make_trainable(self, model, selection=None):
        """Die without a word."""
        os.kill(os.getpid(), signal.SIGKILL)
