"""Base + adapter → a plain Transformers folder, which loads without this library.

Where the checkpoint keeps every tensor that the adapter replaces under the adapter's own name (one by one, `[out, in]`,
as on the hub for most families), it is rewritten shard by shard: no model is built, and no more than one shard is in
memory. Otherwise (LoRA, fused or differently named checkpoints) the model is loaded, the adapter folded into its
tensors, and Transformers writes it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from esft_lightning.adapters import (
    WEIGHTS_FILE,
    AdapterError,
    load_adapter,
    read_adapter_config,
)
from esft_lightning.appearing_folder import appearing_folder
from esft_lightning.assets import model_folder
from esft_lightning.base_digest import base_digest
from esft_lightning.moe import banks, load_model, remove_banks
from esft_lightning.strategies.lora import detach_lora

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
_BESIDE = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "chat_template*", "*.model", "*.tiktoken", "*processor_config.json", "*.py",
)  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """What `merge` did.

    Attributes:
        folder: The Transformers folder.
        replaced: Tensors of the checkpoint that hold trained values; None where the model had to be built.
        bytes: Size of its weights.
    """

    folder: Path
    replaced: int | None
    bytes: int


def merge(
    base: str,
    adapter: str | Path,
    output: str | Path,
    *,
    dtype: Dtype = "auto",
    force: bool = False,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Merged:
    """Write base + adapter as a Transformers folder, which appears whole or not at all.

    Args:
        base: `tiny`, a local folder, or a hub id.
        adapter: The adapter folder.
        output: The folder to write.
        dtype: Storage dtype; `auto` is the checkpoint's own, to which what was trained in fp32 is rounded.
        force: Merge although the adapter was trained on another base.
        overwrite: Replace what is at `output`.
        trust_remote_code: Run model code that comes with the checkpoint.
        progress: Told how many shards are written, and of how many.

    Returns:
        The folder, and how it was made.

    Raises:
        AdapterError: The adapter does not fit the base.
        FileExistsError: There is something at `output` already.
        OSError: A checkpoint that cannot be read, or a folder that cannot be written.
    """
    adapter, output = Path(adapter), Path(output)
    config = read_adapter_config(adapter)
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} is there already; choose another folder, or say --overwrite")
    source = checkpoint_folder(base)
    _check_base(base, config, adapter, force)
    with appearing_folder(output) as folder:
        streamable = source is not None and config["lora"] is None and not config.get("expert_lora")
        files = _shards(source) if streamable and source is not None else {}
        names = set(config["parameters"])
        if source is not None and files and names <= {name for held in files.values() for name in held}:
            _rewrite(source, files, adapter, config["parameters"], folder, dtype, progress)
            _copy_beside(source, folder, dtype)
            replaced = len(names)
        else:
            _build(base, adapter, folder, dtype, trust_remote_code, force)
            replaced = None
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Merged(output, replaced, size)


def fold_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """Write the loaded adapter into the base's own tensors, for good: the model is then a plain one.

    Args:
        model: A model that `load_adapter` was called on.

    Returns:
        The same model, with nothing of this library on it but the experts' implementation.
    """
    with torch.no_grad():
        for _, bank in banks(model):
            experts = model.get_submodule(_owner_of(model, bank))
            for name, parameter in list(experts.named_parameters(recurse=False)):
                if parameter.shape[0] == bank.sort_key.shape[0]:
                    parameter[bank.expert_ids] = bank.weight(name).to(parameter.dtype)
    remove_banks(model)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
    detach_lora(model)
    if hasattr(model, "_esft_adapter"):
        del model._esft_adapter
    return model


def _owner_of(model: PreTrainedModel, bank: Any) -> str:
    return next(name for name, module in model.named_modules() if module is bank).rpartition(".")[0]


def checkpoint_folder(base: str) -> Path | None:
    """Where a base's files lie; None where they are not on this machine and the hub is asked by Transformers.

    Args:
        base: `tiny`, a local folder, or a hub id.
    """
    known = model_folder(base) or Path(base)
    if known.is_dir():
        return known
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=["*.safetensors*", *_BESIDE]))
    except (LocalEntryNotFoundError, HfHubHTTPError, ValueError) as error:
        raise FileNotFoundError(
            f"{base}: no folder, and not to be had from the hub ({type(error).__name__})"
        ) from error


def _check_base(base: str, config: Mapping[str, Any], adapter: Path, force: bool) -> None:
    recorded = config.get("base_digest")
    if recorded is not None and str(config["base"]) == str(base) and recorded != base_digest(base) and not force:
        raise AdapterError(
            f"{adapter} was trained on {config['base']} when its files were others (digest {recorded}, now "
            f"{base_digest(base)}); merge into that checkpoint, or say --force"
        )
    if str(config["base"]) != str(base) and recorded != base_digest(base) and not force:
        raise AdapterError(
            f"{adapter} was trained on {config['base']} (digest {recorded}), not on {base}; give --base "
            f"{config['base']}, or say --force if the checkpoint is the same under another name"
        )


def _shards(folder: Path) -> dict[str, list[str]]:
    """Weight file → the names of its tensors; empty where the checkpoint is not in safetensors."""
    index = folder / INDEX_FILE
    if index.is_file():
        weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files: dict[str, list[str]] = {}
        for name, file in weights.items():
            files.setdefault(file, []).append(name)
        return files
    if (folder / SINGLE_FILE).is_file():
        with safe_open(folder / SINGLE_FILE, framework="pt") as file:
            return {SINGLE_FILE: list(file.keys())}
    return {}


def _rewrite(
    source: Path,
    files: Mapping[str, list[str]],
    adapter: Path,
    shapes: Mapping[str, list[int]],
    folder: Path,
    dtype: Dtype,
    progress: Callable[[int, int], object],
) -> None:
    """Copy the shards with the adapter's tensors in their places; one shard is in memory at a time."""
    with safe_open(adapter / WEIGHTS_FILE, framework="pt") as trained:
        if missing := sorted(set(shapes) - set(trained.keys())):
            raise AdapterError(
                f"{adapter / WEIGHTS_FILE}: {len(missing)} keys are missing, the first is '{missing[0]}'"
            )
        for done, (name, held) in enumerate(sorted(files.items()), 1):
            with safe_open(source / name, framework="pt") as file:
                tensors = {key: _chosen(key, file, trained, shapes, dtype, source / name) for key in held}
                save_file(tensors, folder / name, metadata={"format": "pt"})
            progress(done, len(files))
    if (source / INDEX_FILE).is_file():
        index = json.loads((source / INDEX_FILE).read_text(encoding="utf-8"))
        index.setdefault("metadata", {})["total_size"] = sum(
            path.stat().st_size for path in folder.glob("*.safetensors")
        )
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _chosen(key: str, file: Any, trained: Any, shapes: Mapping[str, list[int]], dtype: Dtype, place: Path) -> Tensor:
    base = file.get_tensor(key)
    kind = base.dtype if dtype == "auto" or not base.is_floating_point() else getattr(torch, dtype)
    if key not in shapes:
        return base.to(kind)
    tensor = trained.get_tensor(key)
    if tensor.shape != base.shape:
        raise AdapterError(f"'{key}' has shape {list(tensor.shape)} in the adapter, {list(base.shape)} in {place}")
    return tensor.to(kind)


def _copy_beside(source: Path, folder: Path, dtype: Dtype) -> None:
    """Configuration, tokenizer and the like; the configuration names another dtype where there is one."""
    for pattern in _BESIDE:
        for path in source.glob(pattern):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    if dtype != "auto":
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("torch_dtype", None)
        config["dtype"] = dtype
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _build(base: str, adapter: Path, folder: Path, dtype: Dtype, trust_remote_code: bool, force: bool) -> None:
    """Load the model, fold the adapter in, and let Transformers write it."""
    from esft_lightning.data.tokenizer import resolve_base

    model = load_model(base, dtype=dtype, trust_remote_code=trust_remote_code)
    fold_adapter(load_adapter(model, adapter, force=force))
    model.save_pretrained(folder)
    source = Path(resolve_base(base))
    if source.is_dir():
        for pattern in _BESIDE:
            for path in source.glob(pattern):
                if path.is_file() and not (folder / path.name).exists():
                    shutil.copyfile(path, folder / path.name)
        return
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base, trust_remote_code=trust_remote_code).save_pretrained(folder)
