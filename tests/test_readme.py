"""The README tells the truth: its example strategy trains, its files exist, its verbs are verbs."""

import importlib
import re
import shlex
import sys

import pytest
import torch
from places import ROOT
from tiny_models import deepseek_model

from esft_lightning import __main__ as entry
from esft_lightning import strategies
from esft_lightning.command_parser import CommandParser
from esft_lightning.commands.lightning_cli import make_cli
from esft_lightning.strategies import trained_parameters

README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_strategy_works_from_outside_the_package(tmp_path, monkeypatch):
    source = next(block for block in code_blocks("python") if block.startswith("# norms_only.py"))
    (tmp_path / "norms_only.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])
    files = [part for name in ("models/tiny", "tasks/law") for part in ("-c", str(ROOT / f"configs/{name}.yaml"))]
    cli = make_cli([*files, "--model.strategy", "norms_only.NormsOnly"], run=False)
    assert cli.model.strategy.name == "NormsOnly"
    assert cli.model.strategy.learning_rate == 1e-4

    model = cli.model.strategy.apply(deepseek_model())
    names = set(trained_parameters(model))
    assert names and all("norm" in name for name in names)
    before = model.model.norm.weight.detach().clone()
    ids = torch.arange(3, 19)[None]
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=cli.model.learning_rate)
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    assert not torch.equal(model.model.norm.weight, before)


def test_named_files_exist():
    named = set(re.findall(r"(?:configs|docs|esft_lightning|experiments|tests)/[\w/]+\.(?:yaml|md|py|png)", README))
    assert named and all((ROOT / name).is_file() for name in named), sorted(
        n for n in named if not (ROOT / n).is_file()
    )


def test_named_verbs_and_strategies_exist():
    verbs = set(re.findall(r"python -m esft_lightning ([a-z]+)", README))
    assert verbs <= {*entry._LIGHTNING_VERBS, *entry._COMMANDS} and "compare" in verbs
    table = README.split("## Strategies")[1].split("**Your own**")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\de-]+) \|$", table, flags=re.MULTILINE)
    assert len(rows) == 7
    for name, rate in rows:
        assert getattr(strategies, name)().learning_rate == float(rate)


def test_the_two_commands_come_first():
    assert code_blocks("bash")[0].split()[:2] == ["make", "compare"] and "make test" in code_blocks("bash")[0]


def commands() -> list[list[str]]:
    """The words of every command of the library, but for those that leave something out."""
    lines = [line.split(" #")[0] for block in code_blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m esft_lightning ") and "…" not in line]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_understood_in_any_folder(words, tmp_path, monkeypatch):
    """Files named `configs/…` come from the package; what a command reads and where it runs is not asked here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])
    source = next(block for block in code_blocks("python") if block.startswith("# norms_only.py"))
    (tmp_path / "norms_only.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    verb, *options = words
    if verb in entry._LIGHTNING_VERBS:
        cli = make_cli([*options, "--trainer.accelerator", "cpu"], run=False)
        assert cli.datamodule.task and cli.model.strategy.name
        return
    parser = CommandParser(prog=verb)
    importlib.import_module(entry._COMMANDS[verb][1]).add_arguments(parser)
    assert vars(parser.parse_args(options))


def test_commands_of_every_kind_were_found():
    assert {"fit", "compare", "select", "budget"} <= {words[0] for words in commands()}
