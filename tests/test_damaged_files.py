"""Damaged files: whatever is read is read right, or refused as what a user can mend; nothing else comes out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import damaged
from hand_made_results import finished
from safetensors.numpy import save
from tiny_models import deepseek_model
from trained_adapters import STRATEGIES, save_trained
from training_runs import write_base

from esft_lightning.adapters import load_adapter
from esft_lightning.adapters.formats.adapter_values import AdapterValues
from esft_lightning.affinity import AffinityProfile, ExpertGrouping, ExpertSelection, RoutingLog
from esft_lightning.commands.config_files import read_config
from esft_lightning.comparison.archive import read_archive, write_archive
from esft_lightning.comparison.result import RunResult
from esft_lightning.errors import UserError, explanation
from esft_lightning.moe import load_model
from esft_lightning.moe.base_checkpoint import skeleton
from esft_lightning.moe.tokenizer import context_length, load_tokenizer
from esft_lightning.scoring.completions import read_completions
from esft_lightning.scoring.judge.rubric import RUBRICS, load_rubric
from esft_lightning.training.checkpoint_io import DirectCheckpointIO


def profile() -> AffinityProfile:
    counts = np.full((2, 8), 4)
    sums = dict.fromkeys(("gate_sum", "sample_token", "sample_gate"), counts / 8.0)
    groups = {"size": 2, "groups": {"1": [[0, 1], [2, 3], [4, 5], [6, 7]], "2": [[0, 1], [2, 3], [4, 5], [6, 7]]}}
    facts = {"gate_function": "softmax", "scaling_factor": 1.0, "expert_groups": groups}
    return AffinityProfile((1, 2), 8, 2, counts, tokens=16, samples=2, metadata=facts, **sums)


def write_log(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(
        path, expert_ids=rng.integers(0, 8, (2, 16, 2)), gate_weights=rng.random((2, 16, 2), dtype=np.float32),
        sample_lengths=np.array([8, 8]),
    )  # fmt: skip


def write_rows(path: Path) -> None:
    row = {"prompt": "p", "prediction": "x", "raw_answers": ["y"], "score": 0.5}
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(4)))


def checkpoint(path: Path) -> None:
    DirectCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(3000.0)}, "epoch": 1}, path)


KINDS: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any]]] = {
    "profile": ("p.safetensors", lambda path: profile().save(path), AffinityProfile.load),
    "selection": ("c.json", lambda path: ExpertSelection({1: [0, 3], 2: [1]}).save(path), ExpertSelection.load),
    "grouping": ("g.json", lambda path: ExpertGrouping(2, {1: [[0, 1], [2, 3]]}).save(path), ExpertGrouping.load),
    "routing log": ("r.npz", write_log, RoutingLog.load),
    "result": (
        "result.json",
        lambda path: finished("law", "LoRA", score=0.5, general=0.3).save(path.parent),
        RunResult.load,
    ),
    "archive": (
        "a.jsonl.gz",
        lambda path: write_archive([finished("law", "LoRA", score=0.5, general=0.3)], path),
        read_archive,
    ),
    "rubric": ("r.yaml", lambda path: shutil.copy(next(RUBRICS.glob("*.yaml")), path), load_rubric),
    "configuration": ("c.yaml", lambda path: path.write_text("model:\n  base: tiny\n  dtype: auto\n"), read_config),
    "completions": ("c.jsonl", write_rows, lambda path: read_completions(str(path))),
    "checkpoint": ("c.ckpt", checkpoint, lambda path: DirectCheckpointIO().load_checkpoint(path, weights_only=True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    name, write, load = KINDS[kind]
    path = tmp_path / name
    write(path)
    assert load(path) is not None
    refused = 0
    for content in list(damaged(path)):
        path.write_bytes(content)
        try:
            load(path)
        except UserError as error:
            refused += 1
            assert name in str(error)
    assert refused > 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_or_nothing_in_the_place_of_a_file_is_one_line(kind: str, tmp_path: Path) -> None:
    name, _, load = KINDS[kind]
    folder = tmp_path / name
    folder.mkdir()
    for path in (folder, tmp_path / "none" / name):
        with pytest.raises((UserError, OSError)) as raised:
            load(path)
        line = explanation(raised.value)
        assert line is not None and name in line and "\n" not in line


def test_a_flipped_bit_in_a_checkpoints_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    checkpoint(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True) is not None, "torch does not notice"
    with pytest.raises(UserError, match="is damaged at"):
        DirectCheckpointIO().load_checkpoint(path, weights_only=True)


def test_values_of_a_profile_that_would_be_read_later_are_checked_when_it_is_loaded(tmp_path: Path) -> None:
    path, good = tmp_path / "p.safetensors", profile()
    for key, value in (("gate_function", 3), ("scaling_factor", "x"), ("expert_groups", {"size": 2}), ("counting", 1)):
        AffinityProfile(**{**vars(good), "metadata": {**good.metadata, "counting": "all"}}).save(path)
        facts = {**good.metadata, key: value}
        header = {
            "version": 1,
            "layers": [1, 2],
            "num_experts": 8,
            "top_k": 2,
            "tokens": 16,
            "samples": 2,
            "metadata": facts,
        }
        tensors = {name: getattr(good, name) for name in ("token_count", "gate_sum", "sample_token", "sample_gate")}
        path.write_bytes(save(tensors, metadata={"esft_affinity_profile": json.dumps(header)}))
        with pytest.raises(UserError, match=r"p\.safetensors"):
            AffinityProfile.load(path)


@pytest.mark.parametrize("strategy", ["esft", "lora", "relevant lora"])
def test_a_damaged_adapter_is_refused_and_the_model_is_left_as_it_was(strategy: str, tmp_path: Path) -> None:
    base = deepseek_model()
    base.save_pretrained(tmp_path / "base")
    meta = skeleton(tmp_path / "base")
    good = save_trained(tmp_path / "good", STRATEGIES[strategy], base)
    refused = 0
    for file in sorted(path.name for path in good.iterdir()):
        for number, content in enumerate(damaged(good / file, 40)):
            folder = tmp_path / "adapter"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(good, folder)
            (folder / file).write_bytes(content)
            if number == 0:
                (folder / file).unlink()
            for load in (lambda place: load_adapter(base, place), lambda place: AdapterValues(place, meta)):
                try:
                    load(folder)
                except UserError as error:
                    refused += 1
                    assert "adapter" in str(error)
    assert refused > 40
    load_adapter(base, good)


def test_a_damaged_base_is_refused_by_name(tmp_path: Path) -> None:
    good = Path(write_base(tmp_path / "good"))
    load_model(good, random_weights=True).save_pretrained(good, max_shard_size="60KB")
    refused = 0
    for file in sorted(path.name for path in good.iterdir()):
        for content in damaged(good / file, 12):
            folder = tmp_path / "base"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(good, folder)
            (folder / file).write_bytes(content)
            for load in (load_model, _load_tokenizer):
                try:
                    load(folder)
                except UserError as error:
                    refused += 1
                    assert str(folder) in str(error)
    assert refused > 60


def _load_tokenizer(folder: Path) -> None:
    context_length(str(folder), load_tokenizer(str(folder)))
