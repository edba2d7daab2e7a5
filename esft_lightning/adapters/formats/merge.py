"""Base + adapter → a plain Transformers folder, written a unit at a time: the model is never whole in memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from esft_lightning.adapters import AdapterError, check_base
from esft_lightning.adapters.formats.adapter_values import AdapterValues
from esft_lightning.adapters.formats.sharded_writer import ShardedWriter
from esft_lightning.moe import config_hash
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, CheckpointError, Unit, base_folder
from esft_lightning.moe.weight_files import other_files
from esft_lightning.storage import whole_folder


def merge_adapter(
    base: str | Path,
    adapter: str | Path,
    output: str | Path,
    *,
    max_shard_bytes: int = 5 * 10**9,
    dtype: torch.dtype | None = None,
    force: bool = False,
    revision: str | None = None,
) -> Path:
    """Write a model folder that `AutoModelForCausalLM.from_pretrained` loads with the adapter in it.

    Tensors that the adapter does not touch are copied as they are stored. Configuration, tokenizer and generation
    settings are the base's.

    Args:
        base: The base: `tiny`, a folder, or a hub id. Its weights must be safetensors.
        adapter: The adapter folder, of any strategy.
        output: Folder to write; it must not be there yet, and appears whole or not at all.
        max_shard_bytes: Bytes of a weights file at most.
        dtype: Storage dtype of what the adapter changes; None keeps the one that it was trained over.
        force: Merge even if the adapter was trained on another base, as long as every shape fits.
        revision: Hub revision of the base.

    Returns:
        The folder.

    Raises:
        AdapterError: If the adapter cannot be read, or belongs to another base.
        CheckpointError: If the base cannot be read, or a touched tensor cannot be written back.
        FileExistsError: If the output is there already.
    """
    if Path(output).exists():
        raise FileExistsError(f"{output} is there already; name another output, or remove it first")
    checkpoint = BaseCheckpoint(base_folder(base, revision))
    values = AdapterValues(adapter, checkpoint.model)
    held = {checkpoint.canonical(name) for unit in checkpoint.units for name in unit.parameters}
    if missing := sorted(values.names - held):
        raise AdapterError(f"{adapter}: '{missing[0]}' is trained, but {checkpoint.folder} holds no weights for it")
    if not force:
        digest = config_hash(checkpoint.model.config)
        check_base(values.folder, values.config, fingerprint=checkpoint.fingerprint(), config_digest=digest)
    with whole_folder(output) as folder:
        writer = ShardedWriter(folder, max_shard_bytes)
        for unit in checkpoint.units:
            for key, tensor in _merged(checkpoint, unit, values, dtype).items():
                writer.add(key, tensor)
        writer.close()
        _copy_settings(checkpoint.folder, folder, dtype or values.dtype)
    return Path(output)


def _merged(
    checkpoint: BaseCheckpoint, unit: Unit, values: AdapterValues, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """A unit's tensors with the adapter in them; those that it leaves alone are the stored ones."""
    stored = checkpoint.read(unit)
    names = {name: checkpoint.canonical(name) for name in unit.parameters}
    if not values.names.intersection(names.values()):
        return stored
    parameters = checkpoint.parameters(unit, stored)
    if unit.transform is not None:
        _check_reversible(checkpoint, unit, stored, parameters)
    for name, canonical in names.items():
        if canonical in values.names:
            parameters[name] = values.value(canonical, parameters[name], dtype)
    merged = checkpoint.tensors(unit, parameters)
    # A conversion's results may be views of one large tensor, which a shard would keep alive and could not be written.
    return {
        key: stored[key] if torch.equal(tensor, stored[key].to(tensor.dtype)) else tensor.clone()
        for key, tensor in ((key, merged[key]) for key in unit.keys)
    }


def _check_reversible(
    checkpoint: BaseCheckpoint, unit: Unit, stored: dict[str, Tensor], parameters: dict[str, Tensor]
) -> None:
    """Refuse a conversion that does not come back to the very tensors that it started from."""
    again = checkpoint.tensors(unit, parameters)
    for key, tensor in stored.items():
        if again[key].shape != tensor.shape or not torch.equal(again[key], tensor):
            raise CheckpointError(
                f"{checkpoint.folder}: '{key}' does not survive Transformers' conversion to '{unit.target}' and back; "
                "this base cannot be merged"
            )


def _copy_settings(base: Path, folder: Path, dtype: torch.dtype | None) -> None:
    """Everything that is no weight, with the configuration naming the dtype that the merged model loads in."""
    for name in other_files(base):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / name, folder / name)
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    named = config.pop("transformers_weights", None)  # the base's file, where the merged folder has the usual one
    if dtype is not None:
        config.pop("torch_dtype", None)
        config["dtype"] = str(dtype).removeprefix("torch.")
    if dtype is not None or named is not None:
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
