"""A run resumed from any checkpoint, whatever hook saved it, is the run never stopped, bit for bit."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from training_runs import Validations, assert_same_bits, train, trained_values, write_base, write_rows

from esft_lightning.strategies import ESFTToken

STEPS = 7
HOOKS = (
    "on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_optimizer_step",
    "on_train_batch_end", "on_validation_start", "on_validation_end", "on_train_epoch_end",
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 24)


class SaveIn(Callback):
    """Saves in a hook, each time that it is called."""

    def __init__(self, hook: str, folder: Path) -> None:
        self.saved: list[tuple[int, Path]] = []

        def save(trainer: Any, *given: Any, **named: Any) -> None:
            path = folder / f"{len(self.saved)}.ckpt"
            trainer.save_checkpoint(path)
            self.saved.append((trainer.global_step, path))

        setattr(self, hook, save)


def drawn(seed: int) -> dict[str, Any]:
    """Batches an epoch, accumulation, and when validation falls due."""
    draw = random.Random(seed)
    accumulate, batch_size = draw.choice([1, 2, 3, 4, 5]), draw.choice([1, 2, 3])
    by_epoch = draw.random() < 0.5
    every = draw.choice([2, 3, 5, 6, 7] if not by_epoch else [1.0, 0.5, 2, 3])
    return {
        "accumulate_grad_batches": accumulate, "check_val_every_n_epoch": 1 if by_epoch else None,
        "val_check_interval": every, "limit_val_batches": 1.0, "data": {"batch_size": batch_size},
    }  # fmt: skip


def compare(base: str, rows: str, folder: Path, settings: dict[str, Any], hook: str, most: int) -> None:
    whole, save = Validations(), SaveIn(hook, folder)
    module, losses, _ = train(folder, base, rows, ESFTToken(), steps=STEPS, callbacks=[whole, save], **settings)
    draw = random.Random(hook)
    for step, path in draw.sample(save.saved, min(most, len(save.saved))):
        validated = Validations()
        resumed, later, _ = train(
            folder, base, rows, ESFTToken(), steps=STEPS, callbacks=[validated], ckpt_path=str(path), **settings
        )
        said = f"{settings} saved in {hook} behind step {step}: {path.name}"
        assert later == {number: loss for number, loss in losses.items() if number > step}, said
        again = {number: loss for number, loss in whole.by_step.items() if number in validated.by_step or number > step}
        assert validated.by_step == again, said
        assert_same_bits(trained_values(resumed), trained_values(module), said)


@pytest.mark.parametrize("steps", [3, 5, 6], ids=lambda steps: f"{steps} steps")
def test_a_run_that_ended_goes_on_with_more_steps(steps: int, base: str, rows: str, tmp_path: Path) -> None:
    """Three optimizer steps an epoch: the run ended inside an epoch, or with it, and the rows left in it come next."""
    settings: dict[str, Any] = {
        "accumulate_grad_batches": 4, "data": {"batch_size": 1}, "limit_val_batches": 1.0, "val_check_interval": 6,
        "check_val_every_n_epoch": None,
    }  # fmt: skip
    whole = Validations()
    module, losses, _ = train(
        tmp_path, base, rows, ESFTToken(), steps=STEPS, callbacks=[whole], logger=CSVLogger(tmp_path / "a"), **settings
    )
    ended, first = SaveIn("on_train_end", tmp_path), Validations()
    train(tmp_path, base, rows, ESFTToken(), steps=steps, callbacks=[ended, first], **settings)
    resumed, later, _ = train(
        tmp_path, base, rows, ESFTToken(), steps=STEPS, callbacks=[first], ckpt_path=str(ended.saved[0][1]),
        logger=CSVLogger(tmp_path / "b"), log_every_n_steps=1, **settings,
    )  # fmt: skip
    assert later == {step: loss for step, loss in losses.items() if step > steps}
    assert first.by_step == whole.by_step
    assert_same_bits(trained_values(resumed), trained_values(module))
    with next((tmp_path / "b").rglob("metrics.csv")).open() as file:
        logged = {int(row["step"]) + 1: float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
    assert logged == pytest.approx(later), "each value under its own step"


@pytest.mark.parametrize("seed", range(4))
def test_drawn_epochs_accumulations_and_intervals(seed: int, base: str, rows: str, tmp_path: Path) -> None:
    compare(base, rows, tmp_path, drawn(seed), random.Random(seed).choice(HOOKS[4:7]), 2)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook(hook: str, base: str, rows: str, tmp_path: Path) -> None:
    settings = {
        "accumulate_grad_batches": 4, "check_val_every_n_epoch": None, "val_check_interval": 6,
        "limit_val_batches": 1.0, "data": {"batch_size": 1},
    }  # fmt: skip
    compare(base, rows, tmp_path, settings, hook, 2)


def test_a_checkpoint_by_the_clock(base: str, rows: str, tmp_path: Path) -> None:
    """`train_time_interval` saves at any micro-batch."""
    from datetime import timedelta

    settings: dict[str, Any] = {"accumulate_grad_batches": 3, "data": {"batch_size": 2}}
    keep = ModelCheckpoint(
        tmp_path / "ckpt", filename="{step}", train_time_interval=timedelta(microseconds=1), save_top_k=-1
    )
    module, losses, _ = train(
        tmp_path, base, rows, ESFTToken(), steps=4, callbacks=[keep], enable_checkpointing=True, **settings
    )
    path = tmp_path / "ckpt" / "step=2.ckpt"
    resumed, later, _ = train(tmp_path, base, rows, ESFTToken(), steps=4, ckpt_path=str(path), **settings)
    assert later == {step: losses[step] for step in (3, 4)}
    assert_same_bits(trained_values(resumed), trained_values(module))
