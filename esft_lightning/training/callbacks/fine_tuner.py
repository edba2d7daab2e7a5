"""Callbacks that need to know what is trained, and from what base, work with `ExpertFineTuner` alone."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from esft_lightning.errors import SettingError
from esft_lightning.training.module import ExpertFineTuner


class ForeignModuleError(SettingError, MisconfigurationException):
    """A callback of this library is given to a Trainer whose module is not this library's."""


def fine_tuner(callback: Callback, module: LightningModule) -> ExpertFineTuner:
    """The module that a callback works with.

    Args:
        callback: The callback that asks.
        module: The Trainer's module.

    Raises:
        ForeignModuleError: If it is another one, so that the callback would do nothing.
    """
    if not isinstance(module, ExpertFineTuner):
        raise ForeignModuleError(
            f"{type(callback).__name__} works with ExpertFineTuner, not {type(module).__name__}: leave it out, or "
            "train with that (esft_lightning.adapters.save_adapter writes what any model of a strategy trains)"
        )
    return module
