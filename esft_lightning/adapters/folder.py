"""Adapters: what a run trained, in a small folder, put on a base model, swapped and taken off again.

A folder holds `adapter_config.json` (what it is and for which base), `adapter_model.safetensors`, and, where routed
experts were selected, the official `expert_cfg.json`. Trained experts are stored one by one under the names of
`deepseek-ai/ESFT`, `…experts.{id}.{gate,up,down}_proj.{weight,bias}`, always `[out, in]`; other trained parameters
under their own names; LoRA factors under peft's; low-rank factors of selected experts as
`…experts.{id}.{projection}_lora_{A,B}`, in the base's own layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from esft_lightning.adapters.config import wrong_key
from esft_lightning.adapters.provenance import base_difference, provenance
from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.errors import UserError
from esft_lightning.moe import (
    LowRankBank,
    MoELayer,
    banks,
    base_dtype,
    config_hash,
    experts_dtype,
    find_moe_layers,
    full_shape,
    install_banks,
    install_low_rank_banks,
    is_quantised,
    low_rank_shapes,
    model_fingerprint,
    projection_names,
    quantised,
    remove_banks,
)
from esft_lightning.storage import whole_folder
from esft_lightning.strategies import trained_parameters
from esft_lightning.strategies.lora import attach_lora, detach_lora, lora_settings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
EXPERTS_FILE = "expert_cfg.json"
_FORMAT = 1
AdapterDtype = Literal["base", "float32"]


class AdapterError(UserError, ValueError):
    """An adapter folder cannot be read, or does not fit the model."""


@dataclass
class _Installed:
    """What must be undone to take an adapter off: kept on the model as `_esft_adapter`.

    Attributes:
        base_fingerprint: Fingerprint of the bare base.
        replaced: Base values of the parameters that the adapter replaced, by name.
    """

    base_fingerprint: str
    replaced: dict[str, Tensor] = field(default_factory=dict)


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
        config: Content of `adapter_config.json`, without the shapes.
        selection: Content of `expert_cfg.json`, if any.

    Returns:
        The folder.
    """
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    with whole_folder(folder, replace=True) as temporary:
        save_file(dict(tensors), temporary / WEIGHTS_FILE, metadata={"format": "pt"})
        content = json.dumps({**config, "parameters": shapes}, indent=2)
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


def load_adapter(model: PreTrainedModel, folder: str | Path, *, force: bool = False) -> PreTrainedModel:
    """Put an adapter on a loaded base, in place of the one that is on it, if any.

    The folder is checked whole before the model is touched, so a bad one leaves the model as it was. Everything is
    frozen afterwards.

    Args:
        model: A base model, bare or with an adapter that this function loaded.
        folder: The adapter folder.
        force: Load it even if it was trained on another base, as long as every shape fits.

    Returns:
        The same model.

    Raises:
        AdapterError: If the folder is unreadable, made for another base (without `force`), or has missing, unexpected
            or misshapen keys.
    """
    folder = Path(folder)
    config = read_adapter_config(folder)
    installed = getattr(model, "_esft_adapter", None)
    fingerprint = installed.base_fingerprint if installed else model_fingerprint(model)
    if not force:
        check_base(folder, config, fingerprint=fingerprint, config_digest=config_hash(model.config))
    selection = ExpertSelection.load(folder / EXPERTS_FILE) if (folder / EXPERTS_FILE).exists() else None
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file handle, not a dict)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder / WEIGHTS_FILE} cannot be read: {error}") from error
    _refuse_on_quantised(model, folder, config, stored)
    experts = [] if selection is None else selected_layers(model, selection)
    found = {name: tuple(value.shape) for name, value in stored.items()}
    recorded = {name: tuple(shape) for name, shape in config["parameters"].items()}
    check_shapes(folder / WEIGHTS_FILE, found, recorded)
    if config["lora"] is None:
        shapes = expected_shapes(model, experts, recorded, config.get("expert_lora"))
        check_shapes(folder / WEIGHTS_FILE, found, shapes)

    remove_adapter(model)
    state = _Installed(fingerprint)
    object.__setattr__(model, "_esft_adapter", state)
    if config["lora"] is not None:
        attach_lora(model, **config["lora"])
        factors = {name: p for name, p in model.named_parameters() if ".lora_" in name}
        check_shapes(folder / WEIGHTS_FILE, found, {name: tuple(p.shape) for name, p in factors.items()})
        with torch.no_grad():
            for name, parameter in factors.items():
                parameter.copy_(stored[name])
    else:
        _put_experts(model, experts, stored, config.get("expert_lora"))
        for name, parameter in model.named_parameters():
            if name in stored:
                state.replaced[name] = parameter.data
                parameter.data = stored[name].to(parameter.device, parameter.dtype)
    return model.requires_grad_(False)


def _refuse_on_quantised(
    model: PreTrainedModel, folder: Path, config: Mapping[str, Any], stored: Mapping[str, Tensor]
) -> None:
    """Refuse an adapter that changes all routed experts of a base that holds them rounded."""
    if not is_quantised(model):
        return
    fused = {f"{entry.name}.{name}" for entry in find_moe_layers(model) for name in projection_names(entry.experts)}
    if fused & set(stored) or "routed experts" in (config["lora"] or {}).get("parts", ()):
        raise AdapterError(
            f"{folder} changes every routed expert, which this model holds rounded; load the base without "
            "quantize_experts"
        )


def remove_adapter(model: PreTrainedModel) -> None:
    """Take the loaded adapter off; the base is again bit for bit what it was. Without one, nothing happens."""
    state = getattr(model, "_esft_adapter", None)
    if state is None:
        return
    remove_banks(model)
    detach_lora(model)
    for name, value in state.replaced.items():
        model.get_parameter(name).data = value
    del model._esft_adapter


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


def _expert_lora(model: PreTrainedModel) -> dict[str, Any] | None:
    """Rank and scaling of the model's low-rank banks; None where it has none."""
    bank = next((bank for _, bank in banks(model) if isinstance(bank, LowRankBank)), None)
    return None if bank is None else {"rank": bank.rank, "scaling": bank.scaling}


def _put_experts(
    model: PreTrainedModel,
    experts: list[tuple[MoELayer, list[int]]],
    stored: dict[str, Tensor],
    expert_lora: Mapping[str, Any] | None,
) -> None:
    """Install banks in the base's dtype, or low-rank ones, and fill them from the per-expert tensors."""
    if not experts:
        return
    if expert_lora is not None:
        low_rank = install_low_rank_banks(model, {entry.layer: ids for entry, ids in experts}, **expert_lora)
        with torch.no_grad():
            for entry, _ in experts:
                for name, parameter in low_rank[entry.layer].named_parameters():
                    for row, expert in enumerate(low_rank[entry.layer].expert_ids):
                        parameter[row].copy_(stored[f"{entry.name}.{expert}.{name}"])
        return
    made = install_banks(model, {entry.layer: ids for entry, ids in experts}, dtype=None, unset=True)
    with torch.no_grad():
        for entry, _ in experts:
            bank = made[entry.layer]
            for name, parameter in bank.named_parameters():
                for row, expert in enumerate(bank.expert_ids):
                    for part, view in split_projection(entry, name, parameter[row]):
                        view.copy_(stored[f"{entry.name}.{expert}.{part}"])


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
