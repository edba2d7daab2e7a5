"""What a resumed run leaves: the adapter that a stopped one owes, the best of the whole run, the same experts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import Validations, make_data, make_module, make_trainer, train, write_base, write_rows

from esft_lightning.__main__ import main
from esft_lightning.strategies import ESFTGate, ESFTToken, FineTuningStrategy, LoRA
from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler, LastAndBestCheckpoint

VALIDATED: dict[str, Any] = {
    "limit_val_batches": 1.0, "check_val_every_n_epoch": None, "val_check_interval": 2, "enable_checkpointing": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def keeping() -> list[Any]:
    return [AdapterCheckpoint(), LastAndBestCheckpoint(filename="best", monitor="val/loss", save_last=True)]


def folder_of(root: Path, version: int) -> Path:
    (folder,) = root.rglob(f"version_{version}")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("strategy", [ESFTGate(), LoRA(rank=2)], ids=lambda strategy: strategy.name)
def test_a_run_with_nothing_left_to_train_writes_what_is_missing(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path
) -> None:
    train(tmp_path, base, rows, strategy, steps=4, callbacks=keeping(), **VALIDATED)
    first = folder_of(tmp_path, 0)
    whole = {name: content(first / name) for name in ("adapter", "adapter_best")}
    shutil.rmtree(first / "adapter")  # as if it had been killed before it was written
    last = first / "checkpoints" / "last.ckpt"
    train(tmp_path, base, rows, strategy, steps=4, callbacks=keeping(), ckpt_path=str(last), **VALIDATED)
    second = folder_of(tmp_path, 1)
    assert {name: content(second / name) for name in whole} == whole
    assert {path.name for path in (second / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    if strategy.name == "ESFTGate":
        assert (second / "expert_cfg.json").read_bytes() == (first / "expert_cfg.json").read_bytes()


def test_the_best_of_a_run_stays_its_best_when_it_is_resumed(base: str, rows: str, tmp_path: Path) -> None:
    """At this rate the validation behind step 6 is worse than the one behind step 4."""
    module, losses = {"learning_rate_scale": 1e5}, Validations()
    train(
        tmp_path, base, rows, ESFTToken(), steps=4, callbacks=[*keeping(), losses], module=module, **VALIDATED
    )  # fmt: skip
    first = folder_of(tmp_path, 0)
    best = content(first / "adapter_best")
    train(
        tmp_path, base, rows, ESFTToken(), steps=6, callbacks=[*keeping(), losses], module=module,
        ckpt_path=str(first / "checkpoints" / "last.ckpt"), **VALIDATED,
    )  # fmt: skip
    assert losses.by_step[4] < min(losses.by_step[2], losses.by_step[6])
    second = folder_of(tmp_path, 1)
    assert content(second / "adapter_best") == best
    saved = torch.load(second / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    (states,) = [
        state
        for name, state in torch.load(second / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"].items()
        if name.startswith("LastAndBest")
    ]
    assert states["best_model_path"] == str(second / "checkpoints" / "best.ckpt")
    # and again, so that what was brought along is brought along
    train(
        tmp_path, base, rows, ESFTToken(), steps=7, callbacks=keeping(), module=module,
        ckpt_path=str(second / "checkpoints" / "last.ckpt"), **VALIDATED,
    )  # fmt: skip
    assert content(folder_of(tmp_path, 2) / "adapter_best") == best


@pytest.mark.parametrize("strategy", [ESFTGate(), LoRA(rank=2)], ids=lambda strategy: strategy.name)
def test_the_verb_makes_the_adapter_of_a_checkpoint(
    strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, base, rows, strategy, steps=3, callbacks=keeping(), **VALIDATED)
    first = folder_of(tmp_path, 0)
    last = first / "checkpoints" / "last.ckpt"
    assert main(["adapter", "--checkpoint", str(last), "--output", str(tmp_path / "made")]) == 0
    assert f"what {strategy.name} trained" in capsys.readouterr().out
    assert content(tmp_path / "made") == content(first / "adapter")
    assert main(["adapter", "--checkpoint", str(last), "--output", str(tmp_path / "made")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["adapter", "--checkpoint", str(tmp_path / "no.ckpt"), "--output", str(tmp_path / "x")]) == 2
    assert "there is no such checkpoint" in capsys.readouterr().err


def test_the_checkpoint_decides_before_a_cached_profile(base: str, rows: str, tmp_path: Path) -> None:
    """Profiles of two budgets select other experts; the one at hand when the run is resumed is not asked."""

    def profiler(budget: int) -> ExpertAffinityProfiler:
        return ExpertAffinityProfiler(token_budget=budget, cache_dir=str(tmp_path / "profiles"))

    strategy = ESFTToken(top_p=0.8)
    first, _, trainer = train(tmp_path, base, rows, strategy, steps=2, callbacks=[profiler(64)])
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    other, _, _ = train(tmp_path, base, rows, strategy, steps=1, callbacks=[profiler(10**6)])
    assert other.selection != first.selection
    callback = profiler(10**6)
    module = make_module(base, ESFTToken(top_p=0.8))
    engine = make_trainer(tmp_path, max_steps=3, callbacks=[callback])
    engine.fit(module, datamodule=make_data(base, rows), ckpt_path=str(tmp_path / "two.ckpt"))
    assert module.selection == first.selection
    assert callback.profile is None and module.profile is None, "no profile of this process chose these experts"
