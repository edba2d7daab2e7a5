"""Which files of a model folder are its weights: Transformers' own order, whatever else lies there."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from layouts import save_base
from safetensors.torch import load_file, save_file
from trained_adapters import STRATEGIES, save_trained
from transformers import AutoModelForCausalLM

from esft_lightning.adapters.formats import export_adapter, import_adapter, merge_adapter
from esft_lightning.errors import FileError
from esft_lightning.moe import load_model, model_fingerprint
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, CheckpointError
from esft_lightning.moe.base_digest import base_digest
from esft_lightning.moe.weight_files import INDEX_FILE, is_weight_file, weight_files


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder with a single file of one model beside the shards and the index of another one."""
    folder = tmp_path / "both"
    save_base(folder, "qwen2_moe", seed=1, max_shard_size="30KB")
    single = save_base(tmp_path / "single", "qwen2_moe", seed=2)
    shutil.copy(Path(single) / "model.safetensors", folder)
    assert len(shards(folder)) > 2 and (folder / INDEX_FILE).is_file()
    return folder


def test_the_single_file_is_read_and_not_the_index_beside_it(both: Path) -> None:
    assert weight_files(both) == ["model.safetensors"]
    theirs = dict(AutoModelForCausalLM.from_pretrained(both).named_parameters())
    for quantize in (None, "int8"):
        ours = load_model(both, quantize_experts=quantize)
        for name, value in ours.named_parameters():
            if value.dtype != torch.int8:
                assert torch.equal(value, theirs[name]), name


def test_fingerprint_digest_merge_and_import_read_the_same_file(both: Path, tmp_path: Path) -> None:
    base = load_model(both)
    assert BaseCheckpoint(both).fingerprint() == model_fingerprint(base)
    adapter = save_trained(tmp_path / "adapter", STRATEGIES["esft"], base, name=str(both))
    merged = merge_adapter(both, adapter, tmp_path / "merged")
    assert sorted(path.name for path in merged.glob("*safetensors*")) == ["model.safetensors"]
    stored, written = load_file(both / "model.safetensors"), load_file(merged / "model.safetensors")
    same = [key for key in stored if torch.equal(stored[key], written[key])]
    assert stored.keys() == written.keys() and 0 < len(same) < len(stored)
    export_adapter(adapter, tmp_path / "official", base=both)
    import_adapter(tmp_path / "official", tmp_path / "again", base=both)
    before = base_digest(str(both))
    save_file({"x": torch.ones(2)}, shards(both)[0])  # not read, so that it decides nothing
    assert base_digest(str(both)) == before
    save_file({name: value + 1 for name, value in stored.items()}, both / "model.safetensors", {"format": "pt"})
    assert base_digest(str(both)) != before


def test_a_stale_index_does_not_hide_the_single_file(tmp_path: Path) -> None:
    folder = Path(save_base(tmp_path, "olmoe"))
    (folder / INDEX_FILE).write_text(
        json.dumps({"metadata": {}, "weight_map": {"x": "model-00001-of-00002.safetensors"}})
    )
    assert weight_files(folder) == ["model.safetensors"]
    assert load_model(folder) is not None


def test_the_headers_count_and_not_what_an_index_says_is_in_a_shard(tmp_path: Path) -> None:
    folder = Path(save_base(tmp_path, "olmoe", max_shard_size="30KB"))
    whole = model_fingerprint(load_model(folder))
    index = json.loads((folder / INDEX_FILE).read_text())
    first, second = sorted(set(index["weight_map"].values()))[:2]
    swapped = {first: second, second: first}
    index["weight_map"] = {name: swapped.get(file, file) for name, file in index["weight_map"].items()}
    (folder / INDEX_FILE).write_text(json.dumps(index))
    assert model_fingerprint(load_model(folder)) == whole


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../elsewhere.safetensors", "sub/../../x.safetensors", "C:\\x.safetensors", "..\\x", 3, None, ""],
)
def test_names_that_lead_out_of_the_folder_are_refused(name: object, tmp_path: Path) -> None:
    folder = Path(save_base(tmp_path / "base", "olmoe", max_shard_size="30KB"))
    (tmp_path / "elsewhere.safetensors").write_bytes(b"")
    index = json.loads((folder / INDEX_FILE).read_text())
    index["weight_map"][next(iter(index["weight_map"]))] = name
    (folder / INDEX_FILE).write_text(json.dumps(index))
    spread = partial(load_model, device_map="cpu")
    for read in (weight_files, lambda place: base_digest(str(place)), BaseCheckpoint, load_model, spread):
        with pytest.raises(ValueError, match="is no file below the folder"):
            read(folder)


def test_symbolic_links_are_followed_as_the_hubs_cache_needs_it(tmp_path: Path) -> None:
    stored = Path(save_base(tmp_path / "stored", "olmoe", max_shard_size="30KB"))
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(stored.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    model = load_model(snapshot)
    assert BaseCheckpoint(snapshot).fingerprint() == model_fingerprint(model)
    adapter = save_trained(tmp_path / "adapter", STRATEGIES["esft"], model, name=str(snapshot))
    merged = merge_adapter(snapshot, adapter, tmp_path / "merged")
    assert not any(path.is_symlink() for path in merged.rglob("*"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": []}', b"\xff\xfe"]
)
def test_a_damaged_index_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_bytes(content)
    with pytest.raises(FileError, match="is no index of weights"):
        weight_files(tmp_path)


def test_the_file_that_the_configuration_names_goes_first(tmp_path: Path) -> None:
    folder = Path(save_base(tmp_path / "base", "olmoe"))
    other = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, folder / "chosen.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "chosen.safetensors"}))
    theirs = dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())
    base = load_model(folder)
    assert all(torch.equal(value, theirs[name]) for name, value in base.named_parameters())
    adapter = save_trained(tmp_path / "adapter", STRATEGIES["esft"], base, name=str(folder))
    merged = merge_adapter(folder, adapter, tmp_path / "merged")
    assert "transformers_weights" not in json.loads((merged / "config.json").read_text())
    assert AutoModelForCausalLM.from_pretrained(merged) is not None
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "../x.safetensors"}))
    with pytest.raises(CheckpointError, match="transformers_weights"):
        BaseCheckpoint(folder)


def test_merge_carries_everything_that_is_no_weight(tmp_path: Path) -> None:
    folder = Path(save_base(tmp_path / "base", "olmoe"))
    carried = (
        "additional_chat_templates/tool_use.jinja", "chat_template.jinja", "generation_config.json", "LICENSE",
        "README.md", "modeling_mine.py", "tokenizer.model", "tokenizer.bin", "vocab.tiktoken",
        "assets/voice/preset.json",
    )  # fmt: skip
    left = (
        "pytorch_model.bin", "pytorch_model.bin.index.json", "model-00001-of-00002.safetensors", INDEX_FILE,
        "onnx/model.onnx", "original/consolidated.00.pth", ".cache/x", "__pycache__/modeling_mine.pyc",
    )  # fmt: skip
    for name in (*carried, *left):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else "text")
    assert all(is_weight_file(Path(name).name) for name in left[:6])
    adapter = save_trained(tmp_path / "adapter", STRATEGIES["esft"], load_model(folder), name=str(folder))
    merged = merge_adapter(folder, adapter, tmp_path / "merged")
    found = {path.relative_to(merged).as_posix() for path in merged.rglob("*") if path.is_file()}
    assert found == {"config.json", "model.safetensors", *carried}
