"""Callbacks of Lightning that would average or train something else are refused by name, before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    StochasticWeightAveraging,
)
from lightning.pytorch.callbacks.weight_averaging import EMAWeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from training_runs import make_data, make_module, make_trainer

from esft_lightning.strategies import ESFTToken


@pytest.mark.parametrize(
    "callback",
    [
        StochasticWeightAveraging(1e-3),
        EMAWeightAveraging(),
        BackboneFinetuning(),
        ModelPruning("l1_unstructured"),
        LearningRateFinder(),
        BatchSizeFinder(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_it_is_refused_by_name(callback: Any, tmp_path: Path) -> None:
    module = make_module("no such base", ESFTToken())
    trainer = make_trainer(tmp_path, max_steps=1, callbacks=[callback])
    with pytest.raises(MisconfigurationException, match=rf"{type(callback).__name__} .*leave it out"):
        trainer.fit(module, datamodule=make_data("no such base", "no such rows"))
    assert module.model is None and not list(tmp_path.iterdir())
