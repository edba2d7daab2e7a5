"""A refused adapter folder leaves the model, and the adapter that is on it, as they were; a damaged one is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import deepseek_model
from trained_adapters import STRATEGIES, save_trained

from esft_lightning.adapters import AdapterError, AdapterSet, load_adapter, remove_adapter
from esft_lightning.adapters.digest import digest_of
from esft_lightning.adapters.formats import merge_adapter

KINDS = ("esft", "lora", "relevant lora", "full")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and an adapter of each kind."""
    folder = tmp_path_factory.mktemp("adapters")
    deepseek_model().save_pretrained(folder / "base")
    for kind in KINDS:
        save_trained(folder / kind, STRATEGIES[kind], deepseek_model(), name=str(folder / "base"))
    return folder


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None], *, record: bool = True) -> None:
    """Write other tensors; with `record`, as a program would that knows of shapes and digest."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    if record:
        shapes = {name: list(value.shape) for name, value in tensors.items()}
        change_config(folder, parameters=shapes, digest=digest_of(tensors.items()))


def first(tensors: dict[str, torch.Tensor]) -> str:
    return sorted(tensors)[0]


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


def flip(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x10
    path.write_bytes(bytes(content))


def relabel(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = path.read_bytes()
    assert b'"F32"' in content
    path.write_bytes(content.replace(b'"F32"', b'"I32"', 1))


def lose(folder: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[first(tensors)]

    change_tensors(folder, drop)


def misshape(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({first(tensors): tensors[first(tensors)][:-1].clone()}))


def fill_nan(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors[first(tensors)].fill_(float("nan")))


def other_rank(folder: Path) -> None:
    """Factors of another rank than the configuration says: seen when LoRA is on the model."""
    config = json.loads((folder / "adapter_config.json").read_text())
    change_config(folder, lora={**config["lora"], "rank": config["lora"]["rank"] + 1})


def strange_part(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    change_config(folder, lora={**config["lora"], "parts": ["attention"]})


DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    *((kind, cut, "cannot be read") for kind in KINDS),
    *((kind, flip, "does not hold what was written there") for kind in KINDS),
    *((kind, relabel, "does not hold what was written there") for kind in KINDS),
    *((kind, lose, "missing") for kind in KINDS if kind != "full"),
    *((kind, misshape, "has shape") for kind in KINDS),
    *((kind, fill_nan, "holds NaN or infinite values") for kind in KINDS),
    ("lora", other_rank, "has shape"),
    ("lora", strange_part, "not among what was selected"),
]


def state(model: Any) -> dict[str, Any]:
    """All that a refused folder might change: names, values, flags, and what the model answers."""
    ids = torch.arange(3, 19)[None]
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    return {
        "parameters": {name: (p.requires_grad, p.detach().clone()) for name, p in model.named_parameters()},
        "modules": [(name, type(module)) for name, module in model.named_modules()],
        "own": sorted(name for name in vars(model) if name.startswith("_esft") or name == "save_pretrained"),
        "logits": logits,
    }


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left["modules"] == right["modules"] and left["own"] == right["own"]
    assert torch.equal(left["logits"], right["logits"])
    assert left["parameters"].keys() == right["parameters"].keys()
    for name, (flag, value) in left["parameters"].items():
        assert flag == right["parameters"][name][0] and torch.equal(value, right["parameters"][name][1]), name


@pytest.mark.parametrize("on_it", [None, *KINDS])
@pytest.mark.parametrize(("kind", "damage", "said"), DAMAGES, ids=lambda v: getattr(v, "__name__", None) or str(v)[:12])
def test_the_model_stays_as_it_was(
    kind: str, damage: Callable[[Path], None], said: str, on_it: str | None, place: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / kind, tmp_path / "bad")
    damage(tmp_path / "bad")
    model = deepseek_model().requires_grad_(True)
    if on_it is not None:
        load_adapter(model, place / on_it)
    before = state(model)
    with pytest.raises(AdapterError, match=said):
        load_adapter(model, tmp_path / "bad")
    assert_same(state(model), before)
    bare = state(deepseek_model().requires_grad_(on_it is None))
    remove_adapter(model)
    assert torch.equal(state(model)["logits"], bare["logits"])


@pytest.mark.parametrize("damage", [other_rank, strange_part, flip], ids=lambda damage: damage.__name__)
def test_a_set_of_adapters_keeps_the_one_in_use(damage: Callable[[Path], None], place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "lora", tmp_path / "bad")
    damage(tmp_path / "bad")
    adapters = AdapterSet(deepseek_model())
    adapters.load("good", place / "esft")
    adapters.use("good")
    before = state(adapters.model)
    with pytest.raises(AdapterError):
        adapters.load("bad", tmp_path / "bad")
    assert adapters.names == ["good"] and adapters.active == "good"
    assert_same(state(adapters.model), before)


@pytest.mark.parametrize("damage", [flip, fill_nan, relabel], ids=lambda damage: damage.__name__)
def test_merging_reads_no_damaged_adapter(damage: Callable[[Path], None], place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "esft", tmp_path / "bad")
    damage(tmp_path / "bad")
    with pytest.raises(AdapterError):
        merge_adapter(str(place / "base"), tmp_path / "bad", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_folder_of_an_older_version_loads_without_a_digest(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(place / "esft", tmp_path / "old")
    path = tmp_path / "old" / "adapter_config.json"
    config = json.loads(path.read_text())
    del config["digest"]
    path.write_text(json.dumps(config))
    with caplog.at_level("INFO"):
        load_adapter(deepseek_model(), tmp_path / "old")
    assert "has no digest" in caplog.text


def test_the_digest_is_of_names_dtypes_shapes_and_bytes() -> None:
    one = {"a": torch.arange(6.0), "b": torch.zeros(2, 3, dtype=torch.bfloat16)}
    value = digest_of(one.items())
    assert value == digest_of(reversed(one.items())) and value.startswith("sha256:")
    others = [
        {"a": one["a"], "c": one["b"]},
        {"a": one["a"].view(torch.int32), "b": one["b"]},
        {"a": one["a"].reshape(2, 3), "b": one["b"]},
        {"a": one["a"] + torch.tensor([0, 0, 0, 0, 0, 1e-6]), "b": one["b"]},
        {"a": one["a"]},
    ]
    assert len({value, *(digest_of(other.items()) for other in others)}) == 6
