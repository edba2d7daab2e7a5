"""Answers to validation rows are scored at every validation, and decide which checkpoint and which weights are best."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from training_runs import make_data, make_module, train, write_base, write_rows

from esft_lightning.comparison.best_weights import BestWeights
from esft_lightning.errors import SettingError
from esft_lightning.strategies import FullFineTuning
from esft_lightning.training.callbacks import LastAndBestCheckpoint, ValidationScore
from esft_lightning.training.module import ExpertFineTuner


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("files")
    answers = [json.dumps({"intent": f"i{i}", "slots": {}}) for i in range(40)]
    turns = [
        [{"role": "user", "content": f"say {i}"}, {"role": "assistant", "content": answer}]
        for i, answer in enumerate(answers)
    ]
    (root / "rows.jsonl").write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in turns))
    return write_base(root / "base"), str(root / "rows.jsonl")


def answer_right(monkeypatch: pytest.MonkeyPatch, shares: Sequence[float]) -> list[int]:
    """Let the model's answers be its references for so many of the rows, validation by validation; the rows asked."""
    asked: list[int] = []
    left: Iterator[float] = iter(shares)

    def generate(self: ExpertFineTuner, prompts: Sequence[Any]) -> list[str]:
        data: Any = self.trainer.datamodule
        references = {
            tuple(ids): sample["raw_answers"][0]
            for ids, sample in zip(*(data.validation_sample_loader().prompt_ids, data.validation_samples), strict=True)
        }
        if not prompts:
            return []
        asked.append(len(prompts))
        right = round(next(left) * len(prompts))
        return [references[tuple(ids)] if place < right else "no" for place, ids in enumerate(prompts)]

    monkeypatch.setattr(ExpertFineTuner, "generate", generate)
    return asked


class Weights(Callback):
    """The trained weights after every step."""

    def __init__(self) -> None:
        self.by_step: dict[int, torch.Tensor] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
        first = next(weight for weight in pl_module.parameters() if weight.requires_grad)
        self.by_step[trainer.global_step] = first.detach().clone()


def test_the_best_answers_decide_whatever_the_loss_says(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_right(monkeypatch, [0.25, 0.75, 0.5, 0.75])
    score, best, weights = ValidationScore(rows=4), BestWeights(), Weights()
    checkpoint = LastAndBestCheckpoint(tmp_path / "kept", "best", monitor="val/loss", save_last=True)
    module, _, trainer = train(
        tmp_path, *files, FullFineTuning(), steps=4, callbacks=[score, weights, best, checkpoint],
        enable_checkpointing=True, limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=1,
    )  # fmt: skip
    assert asked == [4, 4, 4, 4]
    assert score.scores == [(1, 0.25), (2, 0.75), (3, 0.5), (4, 0.75)]
    assert float(trainer.callback_metrics["val/score"]) == pytest.approx(0.75)
    assert torch.load(tmp_path / "kept" / "best.ckpt", weights_only=True)["global_step"] == 2
    assert (best.best.value, best.step) == (0.75, 2), "of equal ones the first"
    kept = next(weight for weight in module.parameters() if weight.requires_grad)
    assert torch.equal(kept, weights.by_step[2])
    assert not torch.equal(kept, weights.by_step[4])


def test_a_lower_loss_with_worse_answers_is_not_kept(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_right(monkeypatch, [1.0, 0.0])
    best, weights = BestWeights(), Weights()
    module, _, _ = train(
        tmp_path, *files, FullFineTuning(), steps=2, callbacks=[ValidationScore(), weights, best],
        limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=1,
    )  # fmt: skip
    assert (best.best.value, best.step) == (1.0, 1)
    kept = next(weight for weight in module.parameters() if weight.requires_grad)
    assert torch.equal(kept, weights.by_step[1])


def test_rows_that_no_scorer_understands_are_refused_before_training(tmp_path: Path) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    with pytest.raises(SettingError, match=r"validation rows of intent cannot be scored: .* no intent reference"):
        train(tmp_path, base, rows, FullFineTuning(), steps=1, callbacks=[ValidationScore()])


def test_what_cannot_be_scored_is_refused_before_training(files: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="rows must be at least 1"):
        ValidationScore(0)
    data = make_data(*files)
    data.task = ""
    trainer = Trainer(callbacks=[ValidationScore()], accelerator="cpu", logger=False, max_steps=1,
                      enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(SettingError, match="a DataModule of a task, not IntentDataModule"):
        trainer.fit(make_module(files[0], FullFineTuning()), datamodule=data)
