"""Whole runs of models that are large for the machine: rounded experts, recomputation, one copy of the weights."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from training_runs import train, trained_values, write_base, write_rows
from transformers import AutoConfig, AutoModelForCausalLM

from esft_lightning.moe import SYNC_FREE, is_quantised
from esft_lightning.strategies import ESFTToken, FullFineTuning
from esft_lightning.training.checkpoint_io import DirectCheckpointIO
from esft_lightning.training.module import CheckpointError

INT8 = {"random_weights": False, "quantize_experts": "int8"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base with weights, since experts are read from them again."""
    folder = write_base(tmp_path_factory.mktemp("base"))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
def test_a_run_over_rounded_experts_profiles_trains_and_resumes_exactly(base, rows, tmp_path, quantisation):
    rounding = {"random_weights": False, "quantize_experts": quantisation}
    keep = ModelCheckpoint(tmp_path / "ckpt", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    settings = {"enable_checkpointing": True, "callbacks": [keep]}
    module, losses, trainer = train(tmp_path, base, rows, ESFTToken(), steps=6, module=rounding, **settings)
    assert is_quantised(module.model) and module.selection is not None and module.selection.total > 0
    assert type(trainer.strategy.checkpoint_io) is DirectCheckpointIO
    checkpoint = str(tmp_path / "ckpt" / "step=3.ckpt")
    resumed, later, _ = train(tmp_path, base, rows, ESFTToken(), steps=6, ckpt_path=checkpoint, module=rounding)
    assert later == {step: loss for step, loss in losses.items() if step > 3}
    assert all(torch.equal(value, trained_values(module)[name]) for name, value in trained_values(resumed).items())
    with pytest.raises(CheckpointError, match=rf"quantize_experts is '{quantisation}'.*None"):
        train(tmp_path, base, rows, ESFTToken(), steps=6, ckpt_path=checkpoint, module={"random_weights": False})


def test_losses_over_int8_experts_are_near_those_over_full_ones(base, rows, tmp_path):
    _, full, _ = train(tmp_path, base, rows, ESFTToken(), steps=10, module={"random_weights": False})
    _, small, _ = train(tmp_path, base, rows, ESFTToken(), steps=10, module=INT8)
    assert full != small
    assert list(small.values()) == pytest.approx(list(full.values()), rel=0.01)


def test_full_fine_tuning_over_int8_experts_is_refused(base, rows, tmp_path):
    with pytest.raises(ValueError, match="leave quantize_experts off"):
        train(tmp_path, base, rows, FullFineTuning(), steps=1, module=INT8)


def test_recomputation_and_the_sync_free_forward_change_no_loss(base, rows, tmp_path):
    _, plain, _ = train(tmp_path, base, rows, ESFTToken(), steps=5)
    options = {"gradient_checkpointing": True, "sync_free_experts": True}
    module, other, _ = train(tmp_path, base, rows, ESFTToken(), steps=5, module=options)
    assert module.model.config._experts_implementation == SYNC_FREE
    assert list(other.values()) == pytest.approx(list(plain.values()), rel=1e-5)


def test_gradients_are_gone_when_a_step_is_taken_and_kept_until_then(base, rows, tmp_path):
    held: list[tuple[bool, bool]] = []  # an optimizer step was taken; gradients are there

    class Look(Callback):
        before = 0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            stepped, self.before = trainer.global_step != self.before, trainer.global_step
            held.append((stepped, any(p.grad is not None for p in pl_module.parameters())))

        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            assert all(p.grad is not None for p in pl_module.parameters() if p.requires_grad)

    class AfterTheModule(Callback):
        def on_train_end(self, trainer, pl_module) -> None:
            held.append((True, any(p.grad is not None for p in pl_module.parameters())))

    train(tmp_path, base, rows, ESFTToken(), steps=3, accumulate_grad_batches=2, callbacks=[Look(), AfterTheModule()])
    assert held[-1] == (True, False)
    assert (False, True) in held  # in the middle of an accumulation window they stay


def test_recomputation_leaves_the_embeddings_without_gradient(base, rows, tmp_path):
    module, _, _ = train(tmp_path, base, rows, ESFTToken(), steps=1, module={"gradient_checkpointing": True})
    assert not module.model.get_input_embeddings()(torch.tensor([[1]])).requires_grad
