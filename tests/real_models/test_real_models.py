"""The models of configs/models open on the meta device; that the command line reads the files is in test_cli.py."""

from __future__ import annotations

import pytest
import torch
from places import ROOT

from benchmarks.published_shapes import SHAPES, published_config
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import find_moe_layers
from esft_lightning.moe.auto_class import auto_class
from esft_lightning.strategies import ESFT, LoRA, training_table

MODELS = ROOT / "configs" / "models"


def test_every_model_has_its_shape_here():
    assert {path.stem for path in MODELS.glob("*.yaml")} == {*SHAPES, "tiny"}


@pytest.mark.parametrize("name", SHAPES)
def test_opens_on_the_meta_device(name):
    config, (settings, parameters) = published_config(name), SHAPES[name]
    with torch.device("meta"):
        model = auto_class(config).from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    layers = find_moe_layers(model)
    experts = {settings.get(key) for key in ("n_routed_experts", "num_experts", "num_local_experts")} - {None}
    assert {entry.num_experts for entry in layers} == experts
    ESFT().apply(model, ExpertSelection({entry.layer: [0, 2] for entry in layers}))
    (routed,) = (row for row in training_table(model) if row.group == "routed experts")
    assert routed.trained * layers[0].num_experts == 2 * routed.total
    assert all(row.trained == 0 for row in training_table(model) if row.group != "routed experts")
    with torch.device("meta"):
        again = auto_class(config).from_config(config)
    LoRA().apply(again)
    assert all(row.trained for row in training_table(again) if row.group in LoRA().parts)
