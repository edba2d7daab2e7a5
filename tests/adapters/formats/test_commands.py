"""The verbs merge, export and import: what they write, say and refuse."""

import argparse
import json

import pytest
import torch
from layouts import save_base
from trained_adapters import STRATEGIES, logits, save_trained
from transformers import AutoModelForCausalLM

from esft_lightning import __main__ as entry
from esft_lightning.adapters import load_adapter
from esft_lightning.commands.merge import parse_size
from esft_lightning.moe import load_model


@pytest.fixture
def trained(tmp_path):
    """A base folder and an adapter that records it."""
    base = load_model(save_base(tmp_path / "base", "qwen2_moe"))
    return tmp_path / "base", save_trained(tmp_path / "adapter", STRATEGIES["esft"], base, name=str(tmp_path / "base"))


def test_out_and_back_and_merged(trained, tmp_path, capsys):
    base, adapter = trained
    official, again, merged = (str(tmp_path / name) for name in ("official", "again", "merged"))
    assert entry.main(["export", "--adapter", str(adapter), "--output", official]) == 0
    assert "3 routed experts in 2 layers" in capsys.readouterr().out
    assert entry.main(["import", "--source", official, "--base", str(base), "--output", again]) == 0
    assert entry.main(["merge", "--adapter", again, "--output", merged, "--max-shard-size", "20KB"]) == 0
    assert "weights files" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(merged).eval()
    model.set_experts_implementation("grouped_mm")
    torch.testing.assert_close(logits(model), logits(load_adapter(load_model(base), adapter)), atol=1e-5, rtol=1e-5)


def test_another_base_takes_force(trained, tmp_path, capsys):
    _, adapter = trained
    other = save_base(tmp_path / "other", "qwen2_moe", seed=1)
    command = ["merge", "--adapter", str(adapter), "--base", other, "--output", str(tmp_path / "merged")]
    assert entry.main(command) == 2
    assert "the weights differ; load the base that it was trained on, or force it" in capsys.readouterr().err
    assert entry.main([*command, "--force"]) == 0


@pytest.mark.parametrize(
    "command",
    [
        ["merge", "--adapter", "nowhere", "--output", "out"],
        ["export", "--adapter", "nowhere", "--output", "out"],
        ["import", "--source", "nowhere", "--base", "tiny", "--output", "out"],
    ],
)
def test_a_folder_that_is_not_there_is_named(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert entry.main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "nowhere" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "size"), [("5GB", 5_000_000_000), ("1.5 mb", 1_500_000), ("700", 700)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "0GB", "-1MB", "5TB", "5 G B"])
def test_what_is_no_size(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number with KB, MB or GB"):
        parse_size(text)


def test_config_of_an_import_says_where_it_comes_from(trained, tmp_path):
    base, adapter = trained
    entry.main(["export", "--adapter", str(adapter), "--output", str(tmp_path / "official")])
    entry.main(
        ["import", "--source", str(tmp_path / "official"), "--base", str(base), "--output", str(tmp_path / "in")]
    )
    ours, theirs = (json.loads((folder / "adapter_config.json").read_text()) for folder in (adapter, tmp_path / "in"))
    for key in ("base_fingerprint", "dtype", "parameters"):
        assert ours[key] == theirs[key]
    for key in ("base", "selection"):
        assert ours["provenance"][key] == theirs["provenance"][key]
