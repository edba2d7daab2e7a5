"""A run's identity: what changes its hash, what does not, where it lies."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from esft_lightning.comparison.run_places import run_key
from esft_lightning.comparison.run_spec import TRAINING_SETTINGS, RunSpec
from esft_lightning.comparison.spec_files import files_digest
from esft_lightning.data import TaskDataModule
from esft_lightning.moe.base_digest import base_digest
from esft_lightning.tasks import LawDataModule


def example(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "task": "law", "strategy": "ESFTGate", "strategy_args": {"top_p": 0.1, "normalize": False}, "seed": 1,
        "steps": 80, "learning_rate_scale": 100.0, "data": {"batch_size": 5}, "model": {"dtype": "float32"},
    }  # fmt: skip
    return RunSpec(**(values | changes))


def test_the_hash_is_the_same_in_every_process_and_on_every_machine() -> None:
    # Written down once: a change here makes every finished run of every user run again.
    assert example().content_hash == "894a3efb5937"


def test_neither_label_nor_order_of_keys_changes_the_hash() -> None:
    other = example(label="ESFT, p = 0.1", strategy_args={"normalize": False, "top_p": 0.1})
    assert other.content_hash == example().content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"task": "math"}, {"strategy": "ESFTToken"}, {"strategy_args": {"top_p": 0.2, "normalize": False}}, {"seed": 2},
        {"base": "folder"}, {"steps": 81}, {"learning_rate_scale": 1.0}, {"profile_tokens": 1}, {"data": {}},
        {"model": {"dtype": "bfloat16"}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_setting_changes_the_hash(change: dict[str, Any]) -> None:
    assert example(**change).content_hash != example().content_hash


def test_a_spec_survives_json_and_refuses_unknown_keys() -> None:
    assert RunSpec.from_dict(example().to_dict()) == example()
    with pytest.raises(ValueError, match=r"unknown keys \['stepz'\]"):
        RunSpec.from_dict({**example().to_dict(), "stepz": 3})


@pytest.mark.parametrize(
    ("strategy", "label", "folder"),
    [
        ("ESFTGate", "", "law/esft_gate/seed1"),
        ("LoRA", "", "law/lora/seed1"),
        ("FullFineTuning", "", "law/full_fine_tuning/seed1"),
        ("RandomExperts", "", "law/random_experts/seed1"),
        ("my_package.NormsOnly", "", "law/norms_only/seed1"),
        ("ESFTGate", "ESFT-Gate p=0.3", "law/esft_gate_p_0.3/seed1"),
        ("ESFTGate", "../..", "law/run/seed1"),
    ],
)
def test_folders_are_readable_and_stay_below_the_root(strategy: str, label: str, folder: str) -> None:
    assert example(strategy=strategy, label=label).folder.as_posix() == folder


def test_all_strategies_seeds_and_steps_of_a_task_share_one_base_run() -> None:
    base = example().base_run()
    assert base.is_base
    assert base == example(strategy="LoRA", strategy_args={}, seed=7, steps=3, data={"batch_size": 2}).base_run()
    assert base != example(data={"test_rows": 10}).base_run(), "other questions, other scores"


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (
            {"train_files": "t.jsonl", "test_files": "e.jsonl", "general_source": "embedded", "embedded_seed": 3},
            {"train_files": "t.jsonl", "test_files": "e.jsonl"},
        ),
        (
            {"source": "embedded", "val_files": "v.jsonl", "column_mapping": {"user": "q", "assistant": "a"}},
            {"source": "embedded"},
        ),
        ({"embedded_seed": 3, "general_source": "embedded"}, {"embedded_seed": 3}),
        (
            {"hub_id": "a/b", "general_files": "g.jsonl", "column_mapping": {"user": "q"}, "hub_test_split": "dev"},
            {"hub_id": "a/b", "column_mapping": {"user": "q"}, "hub_test_split": "dev"},
        ),
    ],
    ids=["seed of general rows", "mapping of val_files", "seed of all rows", "hub"],
)
def test_a_base_run_drops_what_training_alone_reads_and_its_settings_hold(data: Any, kept: Any) -> None:
    LawDataModule(**data)  # the tuned runs take them
    base = example(data=data).base_run()
    assert base.data == kept
    LawDataModule(**base.data)


def test_the_base_is_asked_exactly_as_the_tuned_models_are() -> None:
    settings = set(inspect.signature(TaskDataModule).parameters)
    assert settings >= TRAINING_SETTINGS, "a setting that no DataModule has"
    plain = example().base_run()
    for name in settings:
        asked = example(data={name: "changed"}).base_run()
        assert (asked == plain) == (name in TRAINING_SETTINGS), name
    assert example(data={"new_setting_of_somebodys_task": 1}).base_run() != plain


def test_few_shot_examples_are_the_same_for_every_seed(tmp_path: Path) -> None:
    prompts = [
        LawDataModule(test_rows=3, train_rows=20, few_shot=2, seed=seed, cache_dir=None).test_samples for seed in (1, 2)
    ]
    assert [sample["prompt"] for sample in prompts[0]] == [sample["prompt"] for sample in prompts[1]]


@pytest.mark.parametrize(
    "settings",
    [
        {"data": {"train_files": "rows.jsonl"}}, {"data": {"train_files": ["none.jsonl", "*.jsonl"]}},
        {"data": {"hub_id": "folder"}}, {"data": {"general_files": "rows.jsonl"}},
        {"model": {"expert_group_source": "rows.jsonl"}}, {"strategy_args": {"expert_config": "rows.jsonl"}},
        {"strategy_args": {"nested": {"list": ["./rows.jsonl"]}}}, {"strategy": "own_strategy.Mine"},
    ],
    ids=str,
)  # fmt: skip
def test_the_key_follows_the_content_of_every_file(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "folder").mkdir()
    files = [tmp_path / "rows.jsonl", tmp_path / "folder" / "part.jsonl", tmp_path / "own_strategy.py"]
    for file in files:
        file.write_text("one")
    before = run_key(example(**settings))
    assert before == run_key(example(**settings))
    for number, file in enumerate(files):
        file.write_text("another")
        os.utime(file, ns=(number, number))
    assert run_key(example(**settings)) != before


def test_a_word_that_is_a_folder_by_chance_and_settings_without_files_leave_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = example(data={"chat_format": "template", "batch_size": 5})
    before = run_key(plain)
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "x").write_text("x")
    assert run_key(plain) == before
    hub = example(base="org/base", data={"source": "hub", "hub_id": "org/rows"})
    assert files_digest(hub) == ""


def test_a_run_on_other_embedded_rows_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [
        example(),
        example(base="org/base", data={}),
        example(base="org/base", data={"general_source": "embedded"}),
    ]
    keys = [run_key(spec) for spec in specs]
    own = example(base="org/base", data={"source": "files"})
    own_key = run_key(own)
    monkeypatch.setattr("esft_lightning.comparison.spec_files.ROWS", 10**6)
    assert all(run_key(spec) != key for spec, key in zip(specs, keys, strict=True))
    assert run_key(own) == own_key


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        RunSpec("law", "LoRA")
    with pytest.raises(ValueError, match="data holds what JSON cannot"):
        example(data={"files": object()})


def test_the_base_digest_knows_a_changed_weight_and_ignores_records(tmp_path) -> None:
    def made(name: str, weights: bytes, record: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "PRETRAINING.json").write_text(record)
        return base_digest(str(folder))

    weights = bytes(range(256)) * 400
    assert made("a", weights, "1") == made("b", weights, "2") != made("c", b"\1" + weights[1:], "1")
