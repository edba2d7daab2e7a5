"""One identity of the model at work: every field decides, and everything that is kept is kept under it."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import make_data, make_module, train, write_base, write_rows

from esft_lightning.affinity import AffinityProfile
from esft_lightning.identity import ModelIdentity, content_digest, key_of
from esft_lightning.moe import load_model, load_tokenizer, trained_digest
from esft_lightning.moe.identify import identify
from esft_lightning.profiling.expert_grouping import find_grouping
from esft_lightning.strategies import ESFTToken, FullFineTuning
from esft_lightning.training.callbacks.affinity_profiler import ExpertAffinityProfiler

PLAIN = ModelIdentity(weights="w", dtype="float32")
FIELDS = [field.name for field in fields(ModelIdentity)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def changed(identity: ModelIdentity, name: str) -> ModelIdentity:
    value = getattr(identity, name)
    return replace(identity, **{name: value + 1 if isinstance(value, int) else f"{value}, changed"})


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_changes_the_key(name: str) -> None:
    assert changed(PLAIN, name).key(size=2) != PLAIN.key(size=2) != PLAIN.key(size=3)
    assert PLAIN.key(a=1, b=2) == PLAIN.key(b=2, a=1)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_makes_every_cache_miss(
    name: str, base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile's place, the grouping's and the answers' all follow each field."""
    module = make_module(base, ESFTToken())
    module.load_base()
    data = make_data(base, rows)
    profiler = ExpertAffinityProfiler(cache_dir=str(tmp_path))
    trainer: Any = type("Trainer", (), {"datamodule": data, "ckpt_path": None, "world_size": 1, "precision": "32-true"})

    def places() -> tuple[Any, ...]:
        return profiler._cache_path(trainer, module), module.answers_key()

    before = places()
    assert before == places()
    identity = module.identity()
    monkeypatch.setattr(module, "identity", lambda: changed(identity, name))
    after = places()
    assert all(old != new for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["weights", "dtype", "quantization", "attention", "grouping"])
def test_a_grouping_is_not_taken_for_another_models(
    name: str, base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load_model(base, random_weights=True), load_tokenizer(base)
    find_grouping(model, tokenizer, 1, source=rows, folder=tmp_path)
    find_grouping(model, tokenizer, 1, source=rows, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    identity = changed(identify(model), name)
    monkeypatch.setattr("esft_lightning.profiling.expert_grouping.identify", lambda model: identity)
    find_grouping(model, tokenizer, 1, source=rows, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_grouping_follows_the_text_and_not_the_files_name(base: str, tmp_path: Path) -> None:
    model, tokenizer = load_model(base, random_weights=True), load_tokenizer(base)
    text = tmp_path / "text.jsonl"
    row = {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]}
    for content, groupings in ((row, 1), (row, 1), ({"messages": row["messages"] * 2}, 2)):
        text.write_text(json.dumps(content) + "\n")
        find_grouping(model, tokenizer, 2, source=str(text), folder=tmp_path / "cache")
        assert len(list((tmp_path / "cache").iterdir())) == groupings


def test_what_a_loaded_model_is_can_be_read_off_it(base: str, tmp_path: Path) -> None:
    load_model(base, random_weights=True).save_pretrained(tmp_path)
    base = str(tmp_path)
    full = identify(load_model(base, dtype="float32"))
    assert full.dtype == "float32" and full.quantization == "" and full.grouping == ""
    half, small = identify(load_model(base, dtype="bfloat16")), identify(load_model(base, quantize_experts="int8"))
    assert half.dtype == "bfloat16" and small.quantization == "int8"
    assert full.weights == half.weights == small.weights, "the checkpoint's name stays; the identity differs"
    eager = identify(load_model(base, dtype="float32", attn_implementation="eager"))
    assert eager.attention == "eager" != full.attention


def test_what_was_trained_in_memory_is_not_taken_for_the_base(base: str, rows: str, tmp_path: Path) -> None:
    fresh = make_module(base, FullFineTuning())
    fresh.load_base()
    module, _, _ = train(tmp_path, base, rows, FullFineTuning(), steps=1)
    first, untouched = module.identity(), fresh.identity()
    assert first.trained and not untouched.trained and first.weights == untouched.weights
    assert module.identity() == first
    with torch.no_grad():
        next(parameter for parameter in module.model.parameters() if parameter.requires_grad).view(-1)[0] += 1e-7
    assert module.identity() != first
    module.strategy.learning_rate *= 2
    assert trained_digest({"a": torch.zeros(2)}) != trained_digest({"a": torch.zeros(1, 2)})


def test_a_profile_read_in_another_way_is_not_found(base: str, rows: str, tmp_path: Path) -> None:
    counts = []
    for settings in ({}, {}, {"cross_sample_attention": False}, {"val_batch_size": 3}, {"padding_free": True}):
        train(tmp_path, base, rows, ESFTToken(), steps=1, data=settings)
        counts.append(len(list((tmp_path / "profiles").glob("*.safetensors"))))
    assert counts == [1, 1, 2, 3, 4]


def test_a_profile_under_a_wrong_name_is_made_anew(base: str, rows: str, tmp_path: Path) -> None:
    train(tmp_path, base, rows, ESFTToken(), steps=1)
    (path,) = (tmp_path / "profiles").glob("*.safetensors")
    right = AffinityProfile.load(path)
    replace(right, metadata=right.metadata | {"model_fingerprint": "another's"}).save(path)
    with pytest.warns(UserWarning, match="profiling anew"):
        train(tmp_path, base, rows, ESFTToken(), steps=1)
    assert AffinityProfile.load(path).metadata == right.metadata


def test_digests_follow_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "weights"
    file.write_bytes(b"1")
    first, time = content_digest(tmp_path / "a"), file.stat().st_mtime_ns
    assert first == content_digest(tmp_path / "a")
    file.write_bytes(b"2")
    os.utime(file, ns=(time + 1, time + 1))
    assert content_digest(tmp_path / "a") != first != content_digest(file)
    file.rename(tmp_path / "a" / "other")
    assert content_digest(tmp_path / "a") != first
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})
