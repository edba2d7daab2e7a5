"""Runs from the command line: where they lie, how they are gone on with, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from places import CONFIGS
from training_runs import write_base, write_rows

from esft_lightning import __main__ as entry
from esft_lightning.commands.lightning_cli import make_cli


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])


@pytest.fixture
def common(tmp_path: Path) -> list[str]:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    return [
        "-c", str(CONFIGS / "models/tiny.yaml"), "--data", "IntentDataModule", "--data.source", "files",
        "--data.train_files", rows, "--data.sequence_length", "64", "--data.val_fraction", "0.1",
        "--model.strategy", "LoRA", "--model.base", base, "--model.random_weights", "true",
        "--trainer.enable_progress_bar", "false", "--trainer.val_check_interval", "2",
    ]  # fmt: skip


def steps_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def test_last_and_best_find_the_last_run_and_go_on_or_are_refused(
    common: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert entry.main(["fit", *common, "--trainer.max_steps", "2", "--ckpt_path", "last"]) == 2
    assert "error: ckpt_path=last: no run of intent with LoRA on" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists(), "nothing starts anew"
    assert entry.main(["fit", *common, "--trainer.max_steps", "3"]) == 0
    runs = Path("runs/intent/LoRA")
    assert steps_of(runs / "version_0/checkpoints/last.ckpt") == 3
    capfd.readouterr()
    assert entry.main(["fit", *common, "--trainer.max_steps", "5", "--ckpt_path", "last"]) == 0
    assert f"ckpt_path=last: {runs}/version_0/checkpoints/last.ckpt" in capfd.readouterr().out
    assert steps_of(runs / "version_1/checkpoints/last.ckpt") == 5
    assert yaml.safe_load((runs / "version_1/config.yaml").read_text())["ckpt_path"] == "last"
    assert entry.main(["validate", *common, "--ckpt_path", "best"]) == 0
    assert "ckpt_path=best: runs/intent/LoRA/version_1/checkpoints/best.ckpt" in capfd.readouterr().out
    assert entry.main(["validate", *common, "--ckpt_path", "last", "--model.strategy.scaling", "64"]) == 2
    assert "model.strategy.scaling was 2.0 and is 64.0" in capfd.readouterr().err
    assert entry.main(["fit", *common, "--ckpt_path", "best", "--model.strategy", "FullFineTuning"]) == 2
    assert "no run of intent with FullFineTuning" in capfd.readouterr().err


def test_other_data_are_refused_unless_forced_and_the_flag_is_never_idle(
    common: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fit = ["fit", *common, "--trainer.max_steps"]
    assert entry.main([*fit, "2"]) == 0
    other = ["--data.train_files", write_rows(tmp_path / "other.jsonl", 31), "--ckpt_path", "last"]
    assert entry.main([*fit, "4", *other]) == 2
    assert "data.train_files was" in capfd.readouterr().err
    assert entry.main([*fit, "4", *other, "--force_data"]) == 0
    assert "force_data: other data than the checkpoint's: data.train_files was" in caplog.text
    config = yaml.safe_load(Path("runs/intent/LoRA/version_2/config.yaml").read_text())
    assert config["force_data"] is True
    for arguments in ([*fit, "2", "--force_data"], ["validate", *common, "--ckpt_path", "last", "--force_data"]):
        assert entry.main(arguments) == 2
        assert "--force_data is for a fit that goes on from --ckpt_path" in capfd.readouterr().err


def test_force_data_is_a_setting_like_any_other(common: list[str]) -> None:
    for given, wanted in (([], False), (["--force_data"], True), (["--force_data", "true"], True)):
        assert make_cli([*common, *given], run=False).model.force_data is wanted


@pytest.mark.parametrize(
    "logger",
    [
        ["--trainer.logger", "false"],
        ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "runs"],
        ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "runs", "--trainer.logger.version", "a"],
    ],
    ids=lambda arguments: arguments[1],
)  # fmt: skip
def test_two_runs_share_nothing_whatever_the_logger(logger: list[str], common: list[str], tmp_path: Path) -> None:
    for number in (1, 2):
        assert entry.main(["fit", *common, "--trainer.max_steps", "2", *logger]) == 0
        for kind in ("adapter", "adapter_best", "config.yaml", "checkpoints", "run.json"):
            places = {path.parent for path in tmp_path.rglob(kind)}
            assert len(places) == number and all((place / "config.yaml").is_file() for place in places)
            assert all(tmp_path / "runs" in place.parents for place in places)


def test_an_evaluation_in_a_run_s_folder_leaves_its_configuration_alone(common: list[str]) -> None:
    logger: list[Any] = [
        "--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "runs", "--trainer.logger.version", "a",
    ]  # fmt: skip
    assert entry.main(["fit", *common, "--trainer.max_steps", "2", *logger]) == 0
    folder = next(Path("runs").rglob("config.yaml")).parent
    before = (folder / "config.yaml").read_bytes()
    assert entry.main(["validate", *common, "--ckpt_path", str(folder / "checkpoints/last.ckpt"), *logger]) == 0
    assert (folder / "config.yaml").read_bytes() == before and (folder / "config_validate.yaml").is_file()
    assert [path.parent for path in Path("runs").rglob("config.yaml")] == [folder]
