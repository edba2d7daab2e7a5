"""The pretraining script: its losses and rates, and a run of a few steps that is stopped and goes on."""

import csv
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from esft_lightning.assets import TINY
from esft_lightning.assets.pretrain import learning_rate_factor, pretrain
from esft_lightning.assets.tiny_model import balance_loss, new_model, tiny_config
from esft_lightning.data.embedded.corpus import WEIGHTS


def test_balance_loss_is_one_for_a_uniform_router():
    index = torch.arange(64).repeat(3).view(-1, 6)
    assert balance_loss(torch.zeros(index.shape[0], 64), index).item() == pytest.approx(1.0)


def test_balance_loss_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 8, generator=generator)
    index = logits.topk(2, dim=-1).indices
    probabilities = logits.softmax(-1)
    expected = 0.0
    for expert in range(8):
        share = sum(expert in row for row in index.tolist()) / (50 * 2)
        expected += 8 * share * (sum(probabilities[:, expert].tolist()) / 50)
    assert balance_loss(logits, index).item() == pytest.approx(expected, rel=1e-5)
    assert balance_loss(10 * logits, index).item() > expected  # a sharper router at the same choices costs more


@given(st.floats(0, 1))
def test_the_rate_stays_between_nothing_and_full(progress):
    assert 0.0 <= learning_rate_factor(progress) <= 1.0


def test_the_rate_is_a_trapezoid():
    assert learning_rate_factor(0.0) == 0.0
    assert learning_rate_factor(0.5) == 1.0
    assert learning_rate_factor(1.0) == 0.0
    assert learning_rate_factor(0.01) < learning_rate_factor(0.02) == 1.0
    assert learning_rate_factor(0.95) < learning_rate_factor(0.9) < 1.0


def test_the_untrained_model_is_a_function_of_its_seed():
    config = tiny_config(AutoTokenizer.from_pretrained(TINY))
    first, again, other = (new_model(config, seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_stopped_run_goes_on_and_leaves_a_model_folder(tmp_path):
    first = pretrain(tmp_path, steps=2, seed=0)
    assert (first["steps"], first["finished"]) == (2, True)
    record = pretrain(tmp_path, steps=4, seed=0)
    assert record["steps"] == 4 and record["tokens"] == 4 * 3072
    assert record == json.loads((tmp_path / "PRETRAINING.json").read_text())
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(float(rows[1][domain]) < float(rows[0][domain]) for domain in WEIGHTS)
    assert not list(tmp_path.glob("*.tmp"))
    # the bf16 folder holds the fp32 weights of the run, rounded
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.dtype == torch.bfloat16
    kept = torch.load(tmp_path / "state.pt", weights_only=True)["model"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[name].to(torch.bfloat16)), name
