"""An adapter's folder: what a run trained, written, read and checked. Puts nothing on a model.

A folder holds `adapter_config.json` (what it is and for which base), `adapter_model.safetensors`, and, where routed
experts were selected, the official `expert_cfg.json`. Trained experts are stored one by one under the names of
`deepseek-ai/ESFT`, `…experts.{id}.{gate,up,down}_proj.{weight,bias}`, always `[out, in]`; other trained parameters
under their own names; LoRA factors under peft's; low-rank factors of selected experts as
`…experts.{id}.{projection}_lora_{A,B}`, in the base's own layout.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from esft_lightning.adapters.config import wrong_key
from esft_lightning.adapters.digest import TensorDigest, digest_of
from esft_lightning.adapters.provenance import base_difference, provenance
from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.errors import UserError
from esft_lightning.moe import (
    LowRankBank,
    MoELayer,
    banks,
    base_dtype,
    experts_dtype,
    find_moe_layers,
    full_shape,
    low_rank_shapes,
    quantised,
)
from esft_lightning.storage import whole_folder
from esft_lightning.strategies import trained_parameters
from esft_lightning.strategies.lora import lora_settings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
EXPERTS_FILE = "expert_cfg.json"
_FORMAT = 1
_log = logging.getLogger(__name__)
AdapterDtype = Literal["base", "float32"]


class AdapterError(UserError, ValueError):
    """An adapter folder cannot be read, or does not fit the model."""


def save_adapter(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    strategy: str,
    base: str,
    base_fingerprint: str,
    selection: ExpertSelection | None = None,
    profile: AffinityProfile | Mapping[str, Any] | None = None,
    data_fingerprint: str | None = None,
    dtype: AdapterDtype = "base",
) -> Path:
    """Write what `model` trains as an adapter folder.

    Weights are rounded to the base's dtype, as every forward rounds them, so that the adapter answers as the model that
    was trained does; `float32` keeps the masters, for merging in fp32. Low-rank factors, which are computed with in
    fp32, are written so, as peft writes them. The folder appears whole or not at all; one that is there already is
    replaced.

    Args:
        model: A model that a strategy was applied to.
        folder: Where to write.
        strategy: Name of the strategy, for the record.
        base: Name or path of the base model, for the record.
        base_fingerprint: `model_fingerprint` of the base before training.
        selection: The selected experts, where the strategy selected.
        profile: The affinity profile that they were selected from, or its `profile_record`, for the record.
        data_fingerprint: Fingerprint of the training rows, for the record.
        dtype: Dtype of the tensors: the base's, or float32 for all.

    Returns:
        The folder.
    """
    tensors = {name: value.detach().to("cpu").contiguous() for name, value in adapter_tensors(model, dtype)}
    experts = find_moe_layers(model)[0].experts
    rounding = quantised(experts)
    config = {
        "format": _FORMAT,
        "strategy": strategy,
        "base": str(base),
        "base_fingerprint": base_fingerprint,
        "lora": lora_settings(model),
        "expert_lora": _expert_lora(model),
        "quantized_experts": None if rounding is None else rounding.quantisation,
        "dtype": str(experts_dtype(experts)).removeprefix("torch."),
        "stored_dtype": dtype,
        "provenance": provenance(
            model,
            base=base,
            base_fingerprint=base_fingerprint,
            selection=selection,
            profile=profile,
            data_fingerprint=data_fingerprint,
        ),
    }
    return write_adapter(folder, tensors, config, selection)


def write_adapter(
    folder: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], selection: ExpertSelection | None
) -> Path:
    """Write an adapter folder whole or not at all; one that is there already is replaced.

    Args:
        folder: Where to write.
        tensors: What is trained, by the names of an adapter file; contiguous, on the CPU.
        config: Content of `adapter_config.json`, without the shapes and the digest.
        selection: Content of `expert_cfg.json`, if any.

    Returns:
        The folder.
    """
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    with whole_folder(folder, replace=True) as temporary:
        save_file(dict(tensors), temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        content = json.dumps({**config, "parameters": shapes, "digest": digest_of(tensors.items())}, indent=2)
        (temporary / CONFIG_FILE).write_text(content + "\n", encoding="utf-8")
        if selection is not None:
            selection.save(temporary / EXPERTS_FILE)
    return Path(folder)


def adapter_bytes(folder: str | Path) -> int:
    """Bytes that an adapter folder takes on disk."""
    return sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file())


def adapter_tensors(model: PreTrainedModel, dtype: AdapterDtype = "base") -> Iterator[tuple[str, Tensor]]:
    """Every trained tensor under its name in an adapter file.

    Args:
        model: A model that a strategy was applied to.
        dtype: Of weights: the base's, or float32; low-rank factors come as they are.

    Yields:
        Name and tensor; a trained expert comes as its separate projections, `[out, in]`, or as its low-rank factors.
    """
    layers = {entry.layer: entry for entry in find_moe_layers(model)}
    for layer, bank in banks(model):
        entry = layers[layer]
        if isinstance(bank, LowRankBank):
            for name, parameter in bank.named_parameters():
                for expert, rows in zip(bank.expert_ids, parameter, strict=True):
                    yield f"{entry.name}.{expert}.{name}", rows
            continue
        stored = torch.float32 if dtype == "float32" else experts_dtype(entry.experts)
        for name, parameter in bank.named_parameters():
            for expert, rows in zip(bank.expert_ids, parameter, strict=True):
                for part, tensor in split_projection(entry, name, rows):
                    yield f"{entry.name}.{expert}.{part}", tensor.to(stored)
    for name, parameter in trained_parameters(model).items():
        if ".trained_bank." not in name:
            owner, _, own_name = name.rpartition(".")
            of_base = base_dtype(model.get_submodule(owner), own_name) or parameter.dtype
            yield name, parameter.to(torch.float32 if dtype == "float32" else of_base)


def check_base(folder: Path, config: Mapping[str, Any], *, fingerprint: str, config_digest: str) -> None:
    """Refuse a base that an adapter was not trained on.

    Args:
        folder: The adapter folder, for the message.
        config: Its `adapter_config.json`.
        fingerprint: `model_fingerprint` of the base at hand.
        config_digest: `config_hash` of the base at hand.

    Raises:
        AdapterError: If they disagree.
    """
    if (difference := base_difference(config, fingerprint=fingerprint, config_digest=config_digest)) is not None:
        raise AdapterError(
            f"{folder} {difference}; load the base that it was trained on, or force it (force=True, --force)"
        )


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Read and check `adapter_config.json`.

    Raises:
        AdapterError: If it cannot be read, is of another format, or lacks a key.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AdapterError(f"{folder} is no adapter folder: {CONFIG_FILE} cannot be read ({error})") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not JSON: {error}") from error
    if (wrong := wrong_key(config)) is not None:
        raise AdapterError(f"{path}: {wrong}")
    if config["format"] != _FORMAT:
        raise AdapterError(f"{path}: format {config['format']} is not known; this version reads format {_FORMAT}")
    return config


def selected_layers(model: PreTrainedModel, selection: ExpertSelection) -> list[tuple[MoELayer, list[int]]]:
    """The MoE layers of a selection with their expert ids; layers without any are left out.

    Raises:
        AdapterError: If the model has no such layer or expert.
    """
    layers = {entry.layer: entry for entry in find_moe_layers(model)}
    if unknown := sorted(set(selection.experts) - set(layers)):
        raise AdapterError(f"{EXPERTS_FILE} names layers {unknown}; this model's MoE layers are {sorted(layers)}")
    for layer, ids in selection.experts.items():
        if beyond := [expert for expert in ids if expert >= layers[layer].num_experts]:
            raise AdapterError(
                f"{EXPERTS_FILE} names expert {beyond[0]} in layer {layer}; this model has "
                f"{layers[layer].num_experts} experts there"
            )
    return [(layers[layer], ids) for layer, ids in sorted(selection.experts.items()) if ids]


def expected_shapes(
    model: PreTrainedModel,
    experts: list[tuple[MoELayer, list[int]]],
    recorded: Mapping[str, tuple[int, ...]],
    expert_lora: Mapping[str, Any] | None,
) -> dict[str, tuple[int, ...]]:
    """Every key that the file must hold for this model, with its shape: the selected experts', and the base's own."""
    shapes: dict[str, tuple[int, ...]] = {}
    for entry, ids in experts:
        for name, parameter in entry.experts.named_parameters(recurse=False):
            if expert_lora is not None:
                factors = low_rank_shapes(name, parameter, expert_lora["rank"])
                shapes |= {f"{entry.name}.{expert}.{part}": shape for part, shape in factors.items() for expert in ids}
                continue
            for part, tensor in split_projection(entry, name, torch.empty(full_shape(parameter)[1:], device="meta")):
                shapes |= {f"{entry.name}.{expert}.{part}": tuple(tensor.shape) for expert in ids}
    if own := recorded.keys() - shapes.keys():
        bare = _bare_parameters(model)
        shapes |= {name: tuple(bare[name].shape) for name in own if name in bare}
    return shapes


def _bare_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The base's parameters by the names they have without any adapter."""
    return {
        name.replace(".base_layer", ""): parameter
        for name, parameter in model.named_parameters()
        if ".trained_bank." not in name and ".lora_" not in name
    }


def check_shapes(path: Path, stored: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse missing, unexpected and misshapen keys by name.

    Raises:
        AdapterError: Naming the file and the key.
    """
    if missing := sorted(set(expected) - set(stored)):
        raise AdapterError(f"{path}: {len(missing)} keys are missing, the first is '{missing[0]}'")
    if unexpected := sorted(set(stored) - set(expected)):
        raise AdapterError(
            f"{path}: {len(unexpected)} keys are not among what was selected, the first is '{unexpected[0]}'"
        )
    for name, shape in expected.items():
        if stored[name] != shape:
            raise AdapterError(f"{path}: '{name}' has shape {stored[name]}, expected {shape}")


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter folder, as they are there; `check_values` holds them against the digest.

    Args:
        folder: The adapter folder.

    Raises:
        AdapterError: If they cannot be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file handle, not a dict)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error


def check_values(path: Path, config: Mapping[str, Any], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse tensors that are not those which were written, or that no model can compute with.

    Args:
        path: Their file, for the message.
        config: The `adapter_config.json` beside it; of an older version it has no digest, and that is said.
        tensors: Names and tensors, in any order; each is looked at once.

    Raises:
        AdapterError: Naming the file, and the tensor where one is to blame.
    """
    digest = TensorDigest()
    for name, tensor in tensors:
        digest.add(name, tensor)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{path}: '{name}' holds NaN or infinite values; take another checkpoint of its run")
    if config.get("digest") is None:
        _log.info("%s has no digest in its adapter_config.json: what it holds is taken as it is", path)
    elif config["digest"] != digest.value:
        raise AdapterError(
            f"{path} does not hold what was written there: its digest is {digest.value}, {CONFIG_FILE} says "
            f"{config['digest']}; copy the folder anew"
        )


def _expert_lora(model: PreTrainedModel) -> dict[str, Any] | None:
    """Rank and scaling of the model's low-rank banks; None where it has none."""
    bank = next((bank for _, bank in banks(model) if isinstance(bank, LowRankBank)), None)
    return None if bank is None else {"rank": bank.rank, "scaling": bank.scaling}


def split_projection(entry: MoELayer, name: str, rows: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Views of one expert's fused projection as the official separate ones.

    Args:
        entry: The layer, whose flags tell its layout.
        name: The fused parameter's name, such as `gate_up_proj` or `down_proj_bias`.
        rows: One expert's slice of it: a matrix, or a vector where it is a bias.

    Yields:
        `gate_proj.weight` and the like, with a view `[out, in]` (or `[out]`), so that writing to it writes to `rows`.
    """
    projection, is_bias = name.removesuffix("_bias"), name.endswith("_bias")
    kind = "bias" if is_bias else "weight"
    if not is_bias and entry.experts.is_transposed:
        rows = rows.transpose(0, 1)
    if projection != "gate_up_proj":
        yield f"{projection}.{kind}", rows
    elif entry.experts.is_concatenated:
        gate, up = rows.chunk(2, dim=0)
        yield f"gate_proj.{kind}", gate
        yield f"up_proj.{kind}", up
    else:
        yield f"gate_proj.{kind}", rows[0::2]
        yield f"up_proj.{kind}", rows[1::2]
