"""What a setting takes from the environment is written by its name."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from esft_lightning.commands.environment_settings import remember_environment
from esft_lightning.commands.lightning_cli import make_cli
from esft_lightning.training.run_config import RunConfig
from esft_lightning.training.run_folder import RunFolder

TOKEN = "sk-a-token-of-somebody"
SETTINGS = """
model: {base: tiny, strategy: ESFTGate}
data: {class_path: LawDataModule, init_args: {batch_size: "${oc.env:ROWS}", val_batch_size: 6, train_files: ["${oc.env:FOLDER}/a.jsonl"]}}
trainer:
  accelerator: cpu
  default_root_dir: "${oc.env:FOLDER}/runs"
  logger:
    - class_path: CSVLogger
      init_args: {save_dir: runs, name: "to-${oc.env:TOKEN_OF_A_LOGGER}-there", prefix: "${trainer.default_root_dir}"}
    - class_path: CSVLogger
      init_args: {save_dir: runs, version: "${oc.env:NOT_SET,none}", prefix: "$ {oc.env:FOLDER}"}
"""  # noqa: E501


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])
    for name, value in {"TOKEN_OF_A_LOGGER": TOKEN, "ROWS": "6", "FOLDER": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    return str(tmp_path / "settings.yaml")


def written(cli: Any, folder: Path) -> str:
    trainer: Any = SimpleNamespace(callbacks=[RunFolder(folder)], is_global_zero=True)
    RunConfig(cli.parser, cli.config).setup(trainer, cli.model, "fit")
    return (folder / "config.yaml").read_text()


def check(text: str) -> None:
    assert TOKEN not in text
    content = yaml.safe_load(text)
    data, trainer = content["data"]["init_args"], content["trainer"]
    assert data["batch_size"] == "${oc.env:ROWS}"
    assert data["val_batch_size"] == 6, "which happens to be the same, and comes from nowhere"
    assert data["train_files"] == ["${oc.env:FOLDER}/a.jsonl"]
    assert trainer["default_root_dir"] == "${oc.env:FOLDER}/runs"
    first, second = (logger["init_args"] for logger in trainer["logger"])
    assert first["name"] == "to-${oc.env:TOKEN_OF_A_LOGGER}-there"
    assert first["prefix"] == "${oc.env:FOLDER}/runs", "by way of another setting"
    assert second["version"] == "${oc.env:NOT_SET,none}" and second["prefix"] == "$ {oc.env:FOLDER}"


def test_a_runs_configuration_names_the_variable_and_gives_the_same_run_again(file: str, tmp_path: Path) -> None:
    cli = make_cli(["-c", file], run=False)
    assert cli.config.data.init_args.batch_size == 6 and TOKEN in cli.config.trainer.logger[0].init_args.name
    before = str(cli.config.as_dict())
    text = written(cli, tmp_path / "run")
    check(text)
    assert str(cli.config.as_dict()) == before, "the settings at work are untouched"
    again = make_cli(["-c", str(tmp_path / "run" / "config.yaml")], run=False)
    assert {**again.config.as_dict(), "config": 0} == {**cli.config.as_dict(), "config": 0}
    check(written(again, tmp_path / "again"))


def test_a_printed_configuration_names_it_too(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_cli(["fit", "-c", file, "--print_config"])
    check(capsys.readouterr().out)


def test_nothing_is_remembered_of_an_earlier_command(file: str, tmp_path: Path) -> None:
    make_cli(["-c", file], run=False)
    plain = [
        "--model.base",
        "tiny",
        "--model.strategy",
        "LoRA",
        "--data",
        "LawDataModule",
        "--trainer.accelerator",
        "cpu",
    ]
    cli = make_cli([*plain, "--data.batch_size", "5", "--trainer.default_root_dir", TOKEN], run=False)
    content = yaml.safe_load(written(cli, tmp_path / "run"))
    assert (content["data"]["init_args"]["batch_size"], content["trainer"]["default_root_dir"]) == (5, TOKEN)


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        remember_environment(())
