"""Low-rank banks against the base with the same update written into its weights."""

import copy

import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.moe import find_moe_layers, install_low_rank_banks, remove_banks
from esft_lightning.strategies import trained_parameters

SELECTION = {1: [5, 2], 2: [0, 3, 7]}
IDS = torch.randint(3, 96, (2, 20), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model():
    made = deepseek_model().requires_grad_(False)
    install_low_rank_banks(made, SELECTION, rank=4, scaling=2.0)
    return made


def shake(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_it_starts_as_the_base_and_the_base_comes_back(model):
    base = deepseek_model()
    expected = base(IDS).logits
    torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-5, atol=1e-6)
    shake(model)
    assert not torch.allclose(model(IDS).logits, expected)
    remove_banks(model)
    assert torch.equal(model(IDS).logits, expected)


def test_it_equals_the_base_with_the_update_written_into_the_selected_experts(model):
    shake(model)
    written = copy.deepcopy(model)
    banks = {entry.layer: entry.experts.trained_bank for entry in find_moe_layers(written)}
    remove_banks(written)
    with torch.no_grad():
        for entry in find_moe_layers(written):
            for row, expert in enumerate(banks[entry.layer].expert_ids):
                for name in ("gate_up_proj", "down_proj"):
                    factors = (banks[entry.layer].get_parameter(f"{name}_lora_{factor}")[row] for factor in "BA")
                    up, down = factors
                    entry.experts.get_parameter(name)[expert] += 2.0 * up @ down
    torch.testing.assert_close(model(IDS).logits, written(IDS).logits, rtol=1e-4, atol=1e-5)


def test_only_the_factors_of_selected_experts_train(model):
    names = set(trained_parameters(model))
    assert names
    assert all(".trained_bank." in name and "_lora_" in name for name in names)
    shake(model)
    model(IDS).logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in names), name
    sizes = sum(parameter.numel() for parameter in trained_parameters(model).values())
    assert sizes == 5 * 4 * ((32 + 32) + (16 + 32))  # experts × rank × both matrices' two sides


def test_a_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="rank must be at least 1"):
        install_low_rank_banks(deepseek_model(), SELECTION, rank=0)
