"""Settings that were chosen for one base model are not taken over by another one unnoticed."""

import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT
from training_runs import write_base

from esft_lightning.commands.lightning_cli import make_cli
from esft_lightning.commands.model_settings import OF_A_MODEL, same_model, without_other_models
from esft_lightning.embedded import TINY
from esft_lightning.errors import SettingError

MODELS = sorted((ROOT / "configs/models").glob("*.yaml"))
TINY_FILE, OLMOE_FILE = "configs/models/tiny.yaml", "configs/models/olmoe_1b_7b.yaml"
REAL = "allenai/OLMoE-1B-7B-0924"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_another_base_gets_the_defaults_and_a_line_names_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_base(tmp_path / "base")
    task = ["--data", "LawDataModule", "--model.strategy", "ESFTGate", "--trainer.accelerator", "cpu"]
    plain = make_cli([*task, "--model.base", base], run=False)
    said(capsys)
    cli = make_cli(["-c", TINY_FILE, *task, "--model.base", base, "--data.batch_size", "3"], run=False)
    line = said(capsys)
    for name in ("learning_rate_scale", "dtype_name"):
        assert getattr(cli.model, name) == getattr(plain.model, name)
    for name in ("on_overflow", "cross_sample_attention"):
        assert getattr(cli.datamodule, name) == getattr(plain.datamodule, name)
    assert cli.trainer.max_steps == plain.trainer.max_steps and cli.datamodule.batch_size == 3
    assert f"tiny.yaml is for tiny, and the base is {base}: its " in line and line.count("\n") == 1
    given = yaml.safe_load((ROOT / TINY_FILE).read_text())
    named = [f"model.{key}" for key in given["model"]] + [f"data.{key}" for key in given["data"]["init_args"]]
    for key in {*named, *(f"trainer.{key}" for key in given["trainer"])} - {"model.base"}:
        assert (key in line) == (key not in ("data.batch_size", "trainer.accelerator")), key


def test_the_files_own_base_keeps_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["-c", TINY_FILE, "--model.base", "tiny"],
        ["-c", TINY_FILE, "--model.base", str(TINY)],
        ["-c", TINY_FILE, "--model.base=tiny@500"],
        ["-c", OLMOE_FILE, "--model.base", str(tmp_path / "models" / REAL.split("/")[1])],
        ["--model.base", "another/one", "-c", TINY_FILE],  # the file comes later, and says the base
        ["-c", OLMOE_FILE],
        ["-c", "configs/tasks/law.yaml", "--model.base", "another/one"],
    ):
        kept = without_other_models(arguments)
        files = [word for word in kept if word.endswith(".yaml")]
        assert len(files) == 1 and len(kept) == len(arguments), arguments
    assert said(capsys) == ""


def test_of_two_models_files_the_later_decides(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = without_other_models(["-c", TINY_FILE, "--config", OLMOE_FILE])[1::2]
    assert yaml.safe_load(first) == {"model": {"base": "tiny"}} and second.endswith("olmoe_1b_7b.yaml")
    line = said(capsys)
    assert "data.on_overflow" in line and "learning_rate_scale" not in line, "what the other file gives is not missed"
    (later,) = [word for word in without_other_models([f"--config={OLMOE_FILE}", "-c", TINY_FILE]) if "{" not in word][
        1:2
    ]
    assert later == "-c"


def test_what_is_no_models_business_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.yaml").write_text(
        "model:\n  base: tiny\n  dtype: float32\n  strategy: {class_path: ESFTGate, init_args: {top_p: 0.2}}\n"
        "data:\n  class_path: LawDataModule\n"
        "  init_args: {train_files: law.jsonl, source: files, sequence_length: 64}\n"
        "seed_everything: 3\n"
    )
    content = yaml.safe_load(without_other_models(["-c", "all.yaml", "--model.base", "an/other"])[1])
    assert content == {
        "model": {"base": "tiny", "strategy": {"class_path": "ESFTGate", "init_args": {"top_p": 0.2}}},
        "data": {"class_path": "LawDataModule", "init_args": {"train_files": "law.jsonl", "source": "files"}},
        "seed_everything": 3,
    }
    assert "model.dtype, data.sequence_length are left out" in said(capsys)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_setting_of_a_shipped_models_file_belongs_to_its_model(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    keys = {f"model.{key}" for key in content["model"]} | {f"trainer.{key}" for key in content["trainer"]}
    keys |= {f"data.{key}" for key in content["data"]["init_args"]}
    assert keys - {"model.base"} <= OF_A_MODEL


def test_settings_of_a_model_are_settings() -> None:
    cli = make_cli(["--data", "LawDataModule", "--model.strategy", "LoRA"], run=False)
    known = {key.replace(".init_args.", ".") for key in cli.config.keys()}  # noqa: SIM118 (a namespace's flat keys)
    assert known >= OF_A_MODEL


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("tiny", "tiny@500", True),
        ("tiny", "some/tiny", False),
        ("a/Model", "/data/Model", True),
        ("a/Model", "/root/hub/models--a--Model/snapshots/abc", True),
        ("a/Model", "b/Model", False),
        ("a/Model", "/data/Model-Instruct", False),
    ],
)
def test_names_of_the_same_model(first: str, second: str, same: bool) -> None:
    assert same_model(first, second) is same_model(second, first) is same


def test_settings_of_the_data_that_are_always_the_models_are_not_left_idle(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("data: {init_args: {trust_remote_code: true}}\n")
    for idle in (["--data.tokenizer", "x"], ["--data.revision=v2", "--model.revision", "v1"], ["-c", "d.yaml"]):
        with pytest.raises(SettingError, match=r"^data\.\w+ is .*, but is always model\.\w+ "):
            without_other_models(["-c", TINY_FILE, *idle])
    for fine in (["--data.tokenizer", "tiny"], ["-c", "d.yaml", "--model.trust_remote_code", "true"]):
        assert without_other_models(fine)
