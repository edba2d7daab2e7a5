"""The card of a base holds what its files say, and names what was not measured."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from esft_lightning.embedded.corpus import STAGE, WEIGHTS
from esft_lightning.embedded.pretraining_settings import Pretraining
from esft_lightning.embedded.tiny_model import Shape
from experiments import base_card

SHAPE = Shape(layers=1, experts=8, top_k=2, expert_width=8, hidden=16, heads=2, head_width=8, kv_rank=8)
RECORD = {
    "finished": True,
    **asdict(Pretraining(steps=4, shape=SHAPE, opening=1, rate=1e-3)),
    "tokenizer": "0a1b",
    "corpus": "2c3d",
    "step": 4,
    "tokens": 12_288,
    "processor_hours": 0.01,
    "tokens_per_processor_second": 900,
    "parameters": 42_000,
    "train_loss": 7.5,
    "held_out_loss": {domain: 7.0 + number / 10 for number, domain in enumerate(WEIGHTS)},
    "balance": 0.005,
    "mixture": WEIGHTS,
    "instruction_stage": STAGE,
    "accelerator": "cpu",
    "versions": {"python": "3.11", "torch": "2.13"},
}
"""As a run leaves it; `tests/assets/test_pretrain.py` makes the card of a real one."""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "PRETRAINING.json").write_text(json.dumps(RECORD))
    return folder


def test_the_record_becomes_a_card_and_missing_measurements_are_named(base: Path, tmp_path: Path) -> None:
    assert base_card.main([str(base), "--measured", str(tmp_path)]) == 0
    text = (base / "README.md").read_text()
    assert "42,000 parameters" in text
    assert "--layers 1" in text and "--experts 8" in text and "--rate 0.001" in text and "--hidden 16" in text
    assert "| law | – | 6% | 3% | 7.50 |" in text
    assert "4 steps of 3,072 tokens" in text
    assert text.count("Not measured: `python -m experiments.") == 2


def test_scores_and_nulls_stand_in_it(base: Path, tmp_path: Path) -> None:
    right = [100.0] * 30 + [0.0] * 70
    scores = {"of": [str(base), 100, "validation"], "law rote": 3.0, "law 0": [0.0] * 100, "law 4": right}
    scores["abilities"] = {"general": {"recall": 44.0}, "in_context": {"copy": 12.0}, "in_context_gain": 9.0}
    (tmp_path / "base_scores.json").write_text(json.dumps(scores))
    null = {"statistic": "own share", "null": "redrawn", "trained": 0.4, "drawn": [0.1, 0.2, 0.3], "verdict": "above"}
    (tmp_path / "routing_nulls.json").write_text(json.dumps([null]))
    text = base_card.card(base, tmp_path)
    assert "| law | 3.0 | 0.0 (0.0–0.0) | 30.0 (" in text and "| yes |" in text
    assert "100 validation rows" in text and "In context beyond rote: 9.0 points." in text
    assert "| own share | 0.400 | redrawn | 0.200 | 0.100 to 0.300 | above |" in text
    assert "Not measured" not in text


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "python -m esft_lightning.embedded.pretrain makes it"),
        ("{", "not JSON"),
        ('{"finished": false}', "the run is not finished"),
        ('{"finished": true}', "no shape; the record is of an older form"),
    ],
)
def test_a_folder_without_a_whole_record_is_refused(
    record: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if record is not None:
        (tmp_path / "PRETRAINING.json").write_text(record)
    assert base_card.main([str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()
