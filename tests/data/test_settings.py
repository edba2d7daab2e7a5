"""Settings that others make idle are refused, and a source that nobody names follows from what is named beside it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from chat_rows import chat, write_jsonl

from esft_lightning.data import TaskDataModule
from esft_lightning.data.rows import DataError
from esft_lightning.data.settings import _QUIET, _READ, ALWAYS_READ
from esft_lightning.tasks import LawDataModule

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(TaskDataModule.__init__).parameters.items()
    if name != "self"
}
FILES, HUB = {"train_files": "a.jsonl"}, {"hub_id": "me/mine"}
TESTED = {"test_files": "t.jsonl"}
# Setting → a value, settings with which it is read, settings with which it is not.
IDLE: dict[str, tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]] = {
    "train_files": ("a.jsonl", [{}, {"source": "files"}], [{"source": "embedded"}, {"source": "hub"}]),
    "hub_id": ("me/mine", [{}, {"source": "hub"}], [{"source": "embedded"}, {"source": "files", **FILES}]),
    "hub_config": ("main", [HUB, {}], [{"source": "embedded"}, {"source": "files", **FILES}]),
    "hub_split": ("train[:9]", [HUB, {}], [{"source": "embedded"}, {"source": "files", **FILES}]),
    "hub_test_id": ("me/test", [{}, FILES, HUB, {"source": "embedded"}], [TESTED, {**FILES, **TESTED}]),
    "hub_test_config": ("main", [{"hub_test_id": "me/t"}, HUB], [FILES, {"source": "embedded"}, {**HUB, **TESTED}]),
    "hub_test_split": ("test", [{"hub_test_id": "me/t"}, HUB], [FILES, {"source": "embedded"}, {**HUB, **TESTED}]),
    "column_mapping": ({"user": "q"}, [FILES, HUB, {"val_files": "v", "source": "embedded"}], [{}]),
    "test_column_mapping": ({"prompt": "q"}, [TESTED, HUB, {"hub_test_id": "me/t"}], [{}, FILES]),
    "test_rows": (3, [{}, {**FILES, **TESTED}, HUB], [FILES]),
    "few_shot": (3, [{}, {**FILES, **TESTED}, HUB], [FILES]),
    "max_prompt_tokens": (99, [{}, {**FILES, **TESTED}, HUB], [FILES]),
    "decontaminate": (13, [{}, {**FILES, **TESTED}, HUB], [FILES]),
    "embedded_seed": (3, [{}, {**FILES, "general_source": "embedded"}], [FILES, HUB]),
    "general_ratio": (0.5, [{"general_source": "embedded"}, {"general_files": "g"}], [{}, FILES]),
    "general_files": ("g.jsonl", [{}, FILES, {"general_source": "files"}], [{"general_source": "embedded"}]),
    "general_hub_id": ("me/g", [{}, FILES, {"general_source": "hub"}], [{"general_source": "embedded"}]),
    "general_hub_split": ("part", [{"general_hub_id": "me/g"}], [{}, {"general_files": "g"}]),
    "general_column_mapping": ({"user": "q"}, [{"general_files": "g"}, {"general_hub_id": "g"}], [{}, FILES]),
    "val_fraction": (0.3, [FILES, HUB], [{}, {"val_files": "v.jsonl", **FILES}]),
    "val_rows": (7, [{}], [FILES, HUB, {"source": "embedded", "val_files": "v.jsonl"}]),
    "random_concat_ratio": (0.5, [{}], [{"cross_sample_attention": False}]),
}


def test_every_setting_is_read_always_or_has_a_rule_and_a_test() -> None:
    assert set(_READ) | ALWAYS_READ == set(DEFAULTS) and not set(_READ) & ALWAYS_READ
    assert set(IDLE) == set(_READ)
    for name in _READ:
        assert DEFAULTS[name] is None or DEFAULTS[name] in _QUIET[name], f"the default of {name} asks for nothing"


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_that_nothing_reads_is_refused(name: str) -> None:
    value, read, idle = IDLE[name]
    for others in read:
        LawDataModule(**{name: value}, **others)
    for others in idle:
        with pytest.raises(DataError, match=f"^{name} has no effect here: it is read (with|where)"):
            LawDataModule(**{name: value}, **others)
        for quiet in (DEFAULTS[name], *_QUIET.get(name, ())):
            LawDataModule(**{name: quiet}, **others)


@pytest.mark.parametrize(
    ("settings", "source", "general"),
    [
        ({}, "embedded", None),
        (FILES, "files", None),
        (HUB, "hub", None),
        ({"hub_split": "train[:9]"}, "hub", None),
        (TESTED, "files", None),
        ({"val_files": "v.jsonl"}, "files", None),
        ({"hub_test_id": "me/t"}, "hub", None),
        ({**HUB, **TESTED}, "hub", None),
        ({**FILES, "hub_test_id": "me/t"}, "files", None),
        ({"source": "embedded", **TESTED}, "embedded", None),
        ({"general_files": "g"}, "embedded", "files"),
        ({"general_hub_id": "g", **FILES}, "files", "hub"),
        ({"general_source": "embedded", "general_ratio": 0}, "embedded", "embedded"),
    ],
)
def test_a_source_follows_from_what_is_named(settings: dict[str, Any], source: str, general: str | None) -> None:
    module = LawDataModule(**settings)
    assert (module.source, module.general_source) == (source, general)
    assert module.report["source"] == source
    assert module.general_ratio == (0.0 if general is None or "general_ratio" in settings else 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**FILES, **HUB}, "train_files and hub_id are both set; say which one counts with source"),
        ({**FILES, "hub_split": "train"}, "train_files and hub_split are both set"),
        ({"general_files": "g", "general_hub_id": "h"}, "say which one counts with general_source"),
        ({"source": "files"}, "source=files needs train_files"),
        ({"source": "files", "train_files": []}, "source=files needs train_files"),
        ({"general_source": "files"}, "general_source=files needs general_files"),
        ({"general_source": "hub"}, "general_source=hub needs general_hub_id"),
        ({"train_rows": 0}, "train_rows is 0; expected at least 1"),
        ({"test_rows": -5}, "test_rows is -5; expected at least 1"),
        ({"few_shot": -1}, "few_shot is -1; expected at least 0"),
        ({"general_source": "embedded", "general_ratio": -0.5}, "general_ratio is -0.5; expected at least 0"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LawDataModule(**settings)


def test_the_command_line_needs_no_source_and_leaves_columns_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from esft_lightning.commands.lightning_cli import make_cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["esft_lightning"])
    options = {"": "LawDataModule", ".train_files": "a.jsonl", ".column_mapping": "{tools: null}"}
    arguments = [part for name, value in options.items() for part in (f"--data{name}", value)]
    data = make_cli([*arguments, "--model.strategy", "ESFTGate", "--trainer.accelerator", "cpu"], run=False).datamodule
    assert (data.source, data.column_mapping) == ("files", {"tools": None})


def test_evaluation_files_alone_are_tested_and_nothing_else_is_trained(tmp_path: Path, tokenizer_folder: str) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", [{"prompt": "q", "raw_answers": ["a"]}])
    module = LawDataModule(test_files=str(path), tokenizer=tokenizer_folder, cache_dir=None)
    assert [sample["raw_answers"] for sample in module.test_samples] == [["a"]]
    with pytest.raises(
        DataError, match=r"law: there are no training rows beside .* or source=embedded to train on the"
    ):
        module.setup("fit")


def test_evaluation_data_of_the_hub_goes_with_files_of_ones_own(
    tmp_path: Path, tokenizer_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    train = write_jsonl(tmp_path / "train.jsonl", [chat(f"q{n}", "a") for n in range(4)])
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "test.jsonl").write_text(json.dumps({"prompt": "q", "raw_answers": ["a"]}) + "\n")
    module = LawDataModule(
        train_files=str(train), hub_test_id=str(tmp_path / "asked"), tokenizer=tokenizer_folder, cache_dir=None
    )
    assert len(module.test_samples) == 1 and len(module._training_rows()) == 4
