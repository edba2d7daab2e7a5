"""Lightning's callbacks that meet the model before the strategy has been applied, or change what it trains."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException

_REFUSED = {
    StochasticWeightAveraging: "copies the model before the strategy is applied to it, and would average nothing",
    WeightAveraging: "copies the whole base before the strategy is applied to it, and would average something else",
    LearningRateFinder: "trains before experts are selected, and would find a rate of something else",
    BatchSizeFinder: "trains before experts are selected, and changes how many rows an optimizer step takes",
    BaseFinetuning: "freezes and unfreezes parameters, which the strategy decides",
    ModelPruning: "replaces parameters, which adapters and checkpoints could not be made of",
}


def refuse_callbacks(trainer: Trainer) -> None:
    """Refuse to fit with a callback that would do something else than its name says.

    Raises:
        MisconfigurationException: Naming the callback.
    """
    if trainer.state.fn != "fit":
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind, reason in _REFUSED.items():
            if isinstance(callback, kind):
                raise MisconfigurationException(
                    f"{type(callback).__name__} {reason}; leave it out of trainer.callbacks"
                )
