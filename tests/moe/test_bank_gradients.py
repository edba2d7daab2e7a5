"""Trained experts that something froze after a strategy opened them: refused by name, never trained without."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import deepseek_model

from esft_lightning.adapters import load_adapter, save_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import SYNC_FREE, install_banks, model_fingerprint
from esft_lightning.moe.bank_gradients import FrozenBankError
from esft_lightning.strategies import ESFTGate, RelevantExpertLoRA

IDS = torch.arange(3, 19)[None]
CHOSEN = ExpertSelection({1: [0, 1, 2, 3, 4, 5, 6, 7], 2: [3]})
PEFT = LoraConfig(r=2, target_modules=["o_proj"])


def loss(model):
    return model(IDS, labels=IDS).loss


@pytest.mark.parametrize("strategy", [ESFTGate, RelevantExpertLoRA])
@pytest.mark.parametrize("forward", ["two_bank", SYNC_FREE])
def test_peft_on_trained_experts_is_refused_at_the_first_training_step(strategy, forward):
    model = strategy().apply(deepseek_model(), CHOSEN)
    model.set_experts_implementation(forward)
    wrapped = get_peft_model(model, PEFT).train()
    with pytest.raises(FrozenBankError, match=r"trained experts \[0, 1.*peft's get_peft_model"):
        loss(wrapped)
    for name, parameter in wrapped.named_parameters():
        if ".trained_bank." in name:
            parameter.requires_grad_(True)
    loss(wrapped).backward()
    trained = {name: parameter for name, parameter in wrapped.named_parameters() if parameter.requires_grad}
    assert any(".trained_bank." in name for name in trained) and any(".lora_" in name for name in trained)
    assert all(parameter.grad is not None for parameter in trained.values())


def test_banks_without_a_strategy_are_watched_too():
    model = deepseek_model().requires_grad_(False)
    install_banks(model, CHOSEN.experts)
    with pytest.raises(FrozenBankError):
        loss(get_peft_model(model, PEFT).train())


def test_what_needs_no_gradient_goes_on(tmp_path):
    base = deepseek_model()
    model = ESFTGate().apply(copy.deepcopy(base), CHOSEN)
    fingerprint = model_fingerprint(base)
    save_adapter(model, tmp_path / "a", strategy="x", base="b", base_fingerprint=fingerprint, selection=CHOSEN)
    model.requires_grad_(False)
    assert loss(model.eval()).requires_grad is False
    with torch.no_grad():
        loss(model.train())
    # An adapter in use is frozen on purpose; peft may train on top of it.
    wrapped = get_peft_model(load_adapter(base, tmp_path / "a"), PEFT).train()
    loss(wrapped).backward()
