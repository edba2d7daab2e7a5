"""A run that was stopped goes on as if it never had been; a checkpoint that does not fit is refused."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from training_runs import (
    assert_same_bits,
    make_data,
    make_module,
    make_trainer,
    train,
    trained_values,
    write_base,
    write_rows,
)

from esft_lightning.strategies import ESFTGate, ESFTToken, FineTuningStrategy, FrozenExperts, LoRA
from esft_lightning.training.callbacks import ExpertAffinityProfiler, LastAndBestCheckpoint, TerminationCheckpoint
from esft_lightning.training.resuming import CheckpointError

STEPS = 14


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def keep_every_step(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resuming_from_any_step_gives_the_losses_of_a_run_never_stopped(
    accumulate: int, base: str, rows: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "enable_checkpointing": True, "limit_val_batches": 1.0,
        "check_val_every_n_epoch": None, "val_check_interval": 4,
        "accumulate_grad_batches": accumulate, "data": {"batch_size": 3},
    }  # fmt: skip
    whole, losses, trainer = train(
        tmp_path, base, rows, ESFTGate(), steps=STEPS, callbacks=[keep_every_step(tmp_path / "ckpt")], **settings
    )
    assert list(losses) == list(range(1, STEPS + 1))
    assert trainer.current_epoch >= 1, "the run must cross an epoch's end"
    # Every step of plain runs; a step inside, at and behind the end of an epoch where micro-batches make it slower.
    for step in range(1, STEPS, 1 if accumulate == 1 else 4):
        resumed, later, _ = train(
            tmp_path, base, rows, ESFTGate(), steps=STEPS, ckpt_path=str(tmp_path / "ckpt" / f"step={step}.ckpt"),
            **settings,
        )  # fmt: skip
        assert later == {s: loss for s, loss in losses.items() if s > step}, f"stopped after step {step}"
        assert_same_bits(trained_values(resumed), trained_values(whole))


@pytest.mark.parametrize("strategy", [LoRA(rank=2), FrozenExperts()], ids=lambda s: s.name)
def test_strategies_without_a_profile_resume_exactly_too(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path
) -> None:
    keep = keep_every_step(tmp_path / "ckpt")
    whole, losses, _ = train(tmp_path, base, rows, strategy, steps=5, callbacks=[keep], enable_checkpointing=True)
    path = str(tmp_path / "ckpt" / "step=2.ckpt")
    resumed, later, _ = train(tmp_path, base, rows, strategy, steps=5, ckpt_path=path)
    assert later == {step: losses[step] for step in (3, 4, 5)}
    assert_same_bits(trained_values(resumed), trained_values(whole))


class _Ask(Callback):
    """Sends this process a signal at the start of some micro-batches, counted from 1."""

    def __init__(self, number: int, *batches: int) -> None:
        self.number, self.batches, self.seen = number, batches, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen += 1
        if self.seen in self.batches:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_asked_to_end_inside_an_accumulation_window_it_saves_and_resumes_exactly(
    number: signal.Signals, base: str, rows: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"accumulate_grad_batches": 3, "data": {"batch_size": 2}}
    whole, losses, _ = train(tmp_path / "whole", base, rows, ESFTToken(), steps=7, **settings)
    before = [signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as left:
        train(
            tmp_path / "cut", base, rows, ESFTToken(), steps=7,
            callbacks=[TerminationCheckpoint(), _Ask(number, 5)], **settings,
        )  # fmt: skip
    assert left.value.code == 128 + number
    assert [signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)] == before
    path = tmp_path / "cut" / "intent" / "ESFTToken" / "version_0" / "checkpoints" / "terminated.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 2, "the window's optimizer step is taken first"
    resumed, later, _ = train(tmp_path / "cut", base, rows, ESFTToken(), steps=7, ckpt_path=str(path), **settings)
    assert later == {step: loss for step, loss in losses.items() if step > 2}
    assert_same_bits(trained_values(resumed), trained_values(whole))


class _AskInValidation(Callback):
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_asked_to_end_during_validation_it_keeps_what_validation_found_best(
    base: str, rows: str, tmp_path: Path
) -> None:
    best = LastAndBestCheckpoint(tmp_path / "ckpt", "best", monitor="val/loss", save_last=True)
    with pytest.raises(SystemExit):
        train(
            tmp_path, base, rows, LoRA(rank=2), steps=4, enable_checkpointing=True, limit_val_batches=1.0,
            callbacks=[TerminationCheckpoint(), _AskInValidation(), best], check_val_every_n_epoch=None,
            val_check_interval=2,
        )  # fmt: skip
    (ended,) = tmp_path.rglob("terminated.ckpt")
    known = [state for name, state in torch.load(ended, weights_only=True)["callbacks"].items() if "LastAnd" in name]
    assert known[0]["best_model_path"] == str(tmp_path / "ckpt" / "best.ckpt")
    assert {path.name for path in (tmp_path / "ckpt").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_asked_twice_it_leaves_at_once(number: signal.Signals, base: str, rows: str, tmp_path: Path) -> None:
    ask = _Ask(number, 2, 3)
    with pytest.raises(SystemExit) as left:
        train(
            tmp_path, base, rows, LoRA(rank=2), steps=3, callbacks=[TerminationCheckpoint(), ask],
            accumulate_grad_batches=4, data={"batch_size": 1},
        )  # fmt: skip
    assert left.value.code == 128 + number and ask.seen == 3
    assert not list(tmp_path.rglob("terminated.ckpt"))


@pytest.fixture(scope="module")
def checkpoint(base: str, rows: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    _, _, trainer = train(folder, base, rows, ESFTToken(), steps=2)
    trainer.save_checkpoint(folder / "two.ckpt")
    return folder / "two.ckpt"


def test_a_checkpoint_holds_what_is_trained_and_plain_data(checkpoint: Path, base: str) -> None:
    content = torch.load(checkpoint, weights_only=True)
    assert content["state_dict"] and all(".trained_bank." in name for name in content["state_dict"])
    moments = content["optimizer_states"][0]["state"]
    assert len(moments) == len(content["state_dict"])
    saved = content["esft_lightning"]
    assert saved["strategy"] == "ESFTToken" and saved["base"] == base
    assert set(saved["selection"]["experts"]) == {1, 2}


def test_on_resume_the_checkpoint_gives_the_selection_and_nothing_is_profiled(
    checkpoint: Path, base: str, rows: str, tmp_path: Path
) -> None:
    profiler = ExpertAffinityProfiler()
    module, _, _ = train(tmp_path, base, rows, ESFTToken(), steps=3, ckpt_path=str(checkpoint), callbacks=[profiler])
    saved = torch.load(checkpoint, weights_only=True)["esft_lightning"]["selection"]["experts"]
    assert profiler.profile is None and not (tmp_path / "profiles").exists()
    assert module.selection is not None and module.selection.experts == saved


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_missing_and_unexpected_trained_keys_are_errors(
    change: str, checkpoint: Path, base: str, rows: str, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    name = next(iter(content["state_dict"]))
    value = content["state_dict"][name] if change == "unexpected" else content["state_dict"].pop(name)
    if change == "unexpected":
        content["state_dict"]["model.stray.weight"] = value
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(
        RuntimeError, match=rf"{change} 1 \({'model.stray.weight' if change == 'unexpected' else name}\)"
    ):
        train(tmp_path, base, rows, ESFTToken(), steps=3, ckpt_path=str(tmp_path / "bad.ckpt"))


def test_weights_alone_are_no_place_to_go_on_from(checkpoint: Path, base: str, rows: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    for name in ("optimizer_states", "lr_schedulers", "loops", "callbacks"):
        del content[name]
    torch.save(content, tmp_path / "weights.ckpt")
    with pytest.raises(CheckpointError, match="weights alone"):
        train(tmp_path, base, rows, ESFTToken(), steps=3, ckpt_path=str(tmp_path / "weights.ckpt"))


def test_a_checkpoint_of_another_strategy_or_base_is_refused(
    checkpoint: Path, base: str, rows: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=r"strategy is 'ESFTToken'.*'ESFTGate'"):
        train(tmp_path, base, rows, ESFTGate(), steps=3, ckpt_path=str(checkpoint))
    with pytest.raises(RuntimeError, match="base_fingerprint"):
        other = write_base(tmp_path / "other", hidden_size=16)
        train(tmp_path, other, rows, ESFTToken(), steps=3, ckpt_path=str(checkpoint))


def test_a_checkpoint_serves_evaluation_without_fit(checkpoint: Path, base: str, rows: str, tmp_path: Path) -> None:
    module = make_module(base, ESFTToken())
    make_trainer(tmp_path, limit_val_batches=1.0).validate(
        module, datamodule=make_data(base, rows), ckpt_path=str(checkpoint), verbose=False
    )
    content = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert_same_bits({name: value.detach() for name, value in module.state_dict().items()}, content)
