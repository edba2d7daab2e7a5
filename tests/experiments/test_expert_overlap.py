"""The overlap of experts between tasks, and the nulls it is shown beside."""

import json

import torch
from tiny_models import deepseek_model

from esft_lightning.strategies import group_parameters
from experiments.expert_overlap import main, redraw_routers


def test_redrawing_changes_the_routers_alone():
    before, after = deepseek_model(), redraw_routers(deepseek_model(), seed=1)
    groups = group_parameters(before)
    old = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        assert torch.equal(parameter, old[name]) == (groups[name] != "router"), name
        if groups[name] == "router":
            torch.testing.assert_close(parameter.std(), old[name].std(), rtol=0.2, atol=0)


def test_measures_three_models_and_draws_them(tmp_path):
    arguments = ["--tasks", "law", "intent", "--tokens", "1024", "--output", str(tmp_path)]
    assert main(arguments) == 0
    record = json.loads((tmp_path / "expert_overlap.json").read_text())
    assert [model["model"] for model in record["models"]] == ["trained", "routers drawn anew", "untrained model"]
    assert record["top_k"] == 6 and record["chance"] == 36 / 64
    for model in record["models"]:
        matrix = torch.tensor(model["matrix"])
        assert matrix.shape == (2, 2) and torch.equal(matrix, matrix.T)
        assert 0 <= model["between"] < model["within"] <= 6
    assert (tmp_path / "expert_overlap.png").stat().st_size > 10_000
