"""Which files of a model folder hold its weights, found in the order in which Transformers looks for them. No torch.

A folder may hold more than is read: shards and an index beside a newer single file, or another framework's weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from esft_lightning.errors import FileError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_WEIGHTS = re.compile(
    r"\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|onnx_data|ot|tflite)(\.index(\..+)?\.json)?$"
)
_TOKENIZER = re.compile(r"(token|vocab|merges)")  # tokenizer.bin and the like


def has_safetensors(folder: Path) -> bool:
    """Whether a model folder holds weights as safetensors."""
    return _first_file(folder).is_file()


def weight_files(folder: Path) -> list[str]:
    """The safetensors files that Transformers loads from a model folder: the single file, else those of the index.

    Args:
        folder: The folder. Symbolic links are followed, as the hub's cache is made of them.

    Returns:
        Names below the folder, sorted.

    Raises:
        FileError: If there are none, or the index is damaged, names a file outside the folder, or one that is missing.
    """
    first = _first_file(folder)
    if not first.is_file():
        raise FileError(f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}; expected a base's weights")
    if not first.name.endswith(".index.json"):
        return [first.relative_to(folder).as_posix()]
    shards = list(_index(first).values())
    for name in shards:
        if not _is_inside(name):
            raise FileError(f"{first}: {name!r} is no file below the folder; expected the name of a shard beside it")
    names = sorted(set(shards))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FileError(f"{folder}: {len(missing)} of the index's files are missing, the first {missing[0]}")
    return names


def is_weight_file(name: str) -> bool:
    """Whether a file's name is that of weights, in whatever form, or of an index of them."""
    return _WEIGHTS.search(name) is not None and not (name.endswith(".bin") and _TOKENIZER.search(name))


def other_files(folder: Path) -> Iterator[Path]:
    """Everything in a model folder that is no weight and not hidden, in folders below it too, as paths below it."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from (Path(path.name) / below for below in other_files(path))
        elif path.is_file() and not is_weight_file(path.name):
            yield Path(path.name)


def _first_file(folder: Path) -> Path:
    """The file that loading begins with: the one that the configuration names, the single one, or the index."""
    named = _named_in_config(folder)
    if named is not None:
        return folder / named
    single = folder / WEIGHTS_FILE
    return single if single.is_file() else folder / INDEX_FILE


def _named_in_config(folder: Path) -> str | None:
    """`transformers_weights` of the configuration, which goes before everything else."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None  # said by whoever reads the configuration
    name = config.get("transformers_weights") if isinstance(config, dict) else None
    if name is None:
        return None
    if not _is_inside(name) or not name.endswith((".safetensors", ".safetensors.index.json")):
        raise FileError(
            f"{folder / 'config.json'}: transformers_weights is {name!r}; expected a safetensors file there"
        )
    return name


def _index(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no index of weights ({error})") from error
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise FileError(f"{path} is no index of weights: expected tensors and their files under 'weight_map'")
    return found


def _is_inside(name: Any) -> bool:
    """Whether a name leads to a file below the folder by itself; where links lead is up to who made them."""
    if not isinstance(name, str) or not name:
        return False
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    return all(not kind.anchor and ".." not in kind.parts for kind in kinds)
