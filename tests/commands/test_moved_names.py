"""Class paths of earlier versions are refused by their present ones."""

from __future__ import annotations

import sys

import pytest

from esft_lightning.__main__ import main
from esft_lightning.commands.moved_names import present_path
from esft_lightning.strategies import LoRA
from esft_lightning.training.hyper_parameters import rebuilt_strategy, strategy_settings


@pytest.mark.parametrize(
    ("key", "old", "now"),
    [
        ("data", "esft_lightning.data.LawDataModule", "esft_lightning.tasks.LawDataModule"),
        ("data", "esft_lightning.data.law.LawDataModule", "esft_lightning.tasks.LawDataModule"),
        (
            "trainer.callbacks+",
            "esft_lightning.callbacks.RoutingMonitor",
            "esft_lightning.training.callbacks.RoutingMonitor",
        ),
        (
            "trainer.callbacks+",
            "esft_lightning.callbacks.last_and_best.LastAndBestCheckpoint",
            "esft_lightning.training.callbacks.last_and_best.LastAndBestCheckpoint",
        ),
    ],
)
def test_an_old_path_is_refused_with_the_present_one(key, old, now, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])
    with pytest.raises(SystemExit) as left:
        main(["fit", "--data=LawDataModule", "--model.strategy=ESFTGate", f"--{key}={old}"])
    assert left.value.code == 2
    assert f"error: {key.rstrip('+')}: {old!r} was moved; it is {now} now" in capsys.readouterr().err


def test_a_path_that_never_was_ours_is_nobodys():
    assert present_path("my_package.data.LawDataModule") is None
    assert present_path("esft_lightning.strategies.ESFTGate") is None


def test_strategies_stayed_where_they_were():
    settings = strategy_settings(LoRA(rank=3))
    described = {"class_path": "esft_lightning.strategies.lora.LoRA", "init_args": settings}
    assert strategy_settings(rebuilt_strategy(described)) == settings
