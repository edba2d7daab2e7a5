"""A run's identity: what changes its hash, what does not, where it lies."""

from __future__ import annotations

from typing import Any

import pytest

from esft_lightning.base_digest import base_digest
from esft_lightning.comparison.run_spec import RunSpec


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
