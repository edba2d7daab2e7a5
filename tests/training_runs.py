"""Whole training runs small enough for tests: a random MoE of a few thousand parameters, a byte tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from tiny_models import deepseek_config
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from esft_lightning.strategies import FineTuningStrategy
from esft_lightning.tasks import IntentDataModule
from esft_lightning.training.module import ExpertFineTuner


def write_base(folder: Path, **changes: Any) -> str:
    """A base folder: configuration without weights, and a tokenizer of one token a byte."""
    config = deepseek_config(
        **{"vocab_size": 300, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258, "initializer_range": 0.1},
        **changes,
    )
    config.architectures = ["DeepseekV2ForCausalLM"]
    config.save_pretrained(folder)
    vocabulary = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary |= {"<s>": 256, "</s>": 257, "<pad>": 258}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    return str(folder)


def write_rows(path: Path, count: int = 40) -> str:
    """Rows with answers of very different length, so that micro-batches differ in their labelled tokens."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"say {i} {i % 7 + 1} times"},
                {"role": "assistant", "content": " ".join([str(i)] * (i % 7 + 1))},
            ]
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class Losses(Callback):
    """Every optimizer step's `train/loss`, exactly."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}
        self._seen = 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._seen = trainer.global_step

    def on_before_zero_grad(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self._note(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._note(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self._note(trainer)

    def _note(self, trainer: Trainer) -> None:
        if trainer.global_step != self._seen and "train/loss" in trainer.callback_metrics:
            self._seen = trainer.global_step
            self.by_step[trainer.global_step] = float(trainer.callback_metrics["train/loss"])


class Validations(Callback):
    """Every validation's loss, by the optimizer step that it follows."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        assert trainer.global_step not in self.by_step, "validated twice behind one step"
        assert not pl_module._window, "validated inside an accumulation window"
        self.by_step[trainer.global_step] = float(trainer.callback_metrics["val/loss"])


def make_data(base: str, rows: str, **changes: Any) -> IntentDataModule:
    """Packed rows of 64 tokens, four a step, ten steps or so an epoch."""
    settings: dict[str, Any] = {
        "source": "files", "train_files": rows, "tokenizer": base, "sequence_length": 64, "batch_size": 4,
        "val_fraction": 0.1, "cache_dir": None,
    }  # fmt: skip
    return IntentDataModule(**(settings | changes))


def make_module(base: str, strategy: FineTuningStrategy, **changes: Any) -> ExpertFineTuner:
    """A module on a random fp32 base, with a rate that moves it."""
    settings: dict[str, Any] = {"random_weights": True, "dtype": "float32", "learning_rate_scale": 100.0}
    return ExpertFineTuner(strategy, base=base, **(settings | changes))


def make_trainer(folder: Path, **changes: Any) -> Trainer:
    """A silent CPU Trainer without logger."""
    settings: dict[str, Any] = {
        "default_root_dir": folder, "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "limit_val_batches": 0,
        "gradient_clip_val": 1.0, "max_epochs": -1,
    }  # fmt: skip
    settings |= changes
    settings["callbacks"] = list(settings.get("callbacks", []))
    return Trainer(**settings)


def train(
    folder: Path, base: str, rows: str, strategy: FineTuningStrategy, /, *, steps: int, ckpt_path: str | None = None,
    module: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **trainer: Any,
) -> tuple[ExpertFineTuner, dict[int, float], Trainer]:  # fmt: skip
    """Train for so many steps in all; returns the module, the losses by step, and the Trainer."""
    seed_everything(0, verbose=False)
    losses = Losses()
    fine_tuner = make_module(base, strategy, **(module or {}))
    callbacks = [losses, *trainer.pop("callbacks", [])]
    engine = make_trainer(folder, max_steps=steps, callbacks=callbacks, **trainer)
    engine.fit(fine_tuner, datamodule=make_data(base, rows, **(data or {})), ckpt_path=ckpt_path)
    return fine_tuner, losses.by_step, engine


def trained_values(module: ExpertFineTuner) -> dict[str, torch.Tensor]:
    """Copies of what is trained."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], said: str = "") -> None:
    """The same names, and the same values bit for bit."""
    assert left.keys() == right.keys(), said
    assert all(torch.equal(left[name], right[name]) for name in left), said
