"""Load a checkpoint into a model unit by unit: at no time is more in memory than the model and one layer's experts.

Transformers' own loading keeps every shard mapped until the end and fuses experts beside it, so that resident memory
reaches twice the weights. Here a shard is mapped for one unit (`BaseCheckpoint`), its conversion is Transformers' own,
and experts can be rounded to fewer bits as they come, so that the model is never whole in bf16.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel
from transformers.core_model_loading import build_glob_alternation

from esft_lightning.moe.auto_class import auto_class
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, CheckpointError, Unit, named
from esft_lightning.moe.discovery import find_moe_layers
from esft_lightning.moe.fingerprint import sample_of
from esft_lightning.moe.kept_memory import give_back_freed
from esft_lightning.moe.quantised_bank import Quantised, put_quantised
from esft_lightning.moe.rounded_weight import ExpertQuantisation


@torch.no_grad()
def load_streamed(
    checkpoint: BaseCheckpoint,
    *,
    dtype: torch.dtype | None = None,
    quantize_experts: ExpertQuantisation | None = None,
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """Load a model; what it holds is what Transformers' `from_pretrained` would give, bit for bit.

    Args:
        checkpoint: The folder.
        dtype: Storage dtype of the weights; None takes the checkpoint's own.
        quantize_experts: How to round the routed experts' matrices; everything else, and biases, stay full.
        attn_implementation: Transformers' attention implementation; None lets Transformers choose.

    Returns:
        The model in eval mode.

    Raises:
        CheckpointError: If the folder lacks a parameter, or one has another shape than the configuration says.
    """
    own = checkpoint.model.config.dtype
    kept_dtype = dtype or (own if isinstance(own, torch.dtype) else _first_dtype(checkpoint))
    model = _empty_model(checkpoint, kept_dtype, attn_implementation)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    dtypes = _dtypes(model, tensors, kept_dtype)
    experts = {entry.name: entry.experts for entry in find_moe_layers(model)} if quantize_experts else {}
    missing = {name for name, value in tensors.items() if value.is_meta and checkpoint.canonical(name) == name}
    unit_of = {name: unit for unit in checkpoint.units for name in unit.parameters}
    samples: dict[str, dict[str, bytes]] = {name: {} for name in experts}

    def put(name: str, value: Tensor, mapped: set[int]) -> None:
        if value.shape != tensors[name].shape:
            raise CheckpointError(
                f"{checkpoint.folder}: '{name}' has shape {tuple(value.shape)}, its configuration makes it "
                f"{tuple(tensors[name].shape)}"
            )
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        if quantize_experts and owner in experts and value.dim() == 3:
            samples[owner][attribute] = sample_of(name, value)
            put_quantised(module, attribute, value, quantize_experts)
            return
        own = _own(value.to(dtypes[name]) if value.is_floating_point() else value, mapped)
        if attribute in module._parameters:
            module.register_parameter(attribute, nn.Parameter(own, requires_grad=own.is_floating_point()))
        else:
            module._buffers[attribute] = own

    for unit in checkpoint.units:
        if unit.target is None:
            continue
        stored = checkpoint.read(unit)
        made = checkpoint.parameters(unit, stored)
        mapped = {tensor.untyped_storage().data_ptr() for tensor in stored.values()}
        del stored
        while made:
            name, value = made.popitem()
            name = checkpoint.canonical(name)
            if name in missing:
                put(name, value, mapped)
                missing.discard(name)
            del value
    if missing:
        raise CheckpointError(
            f"{checkpoint.folder}: no weights for {len(missing)} parameters, the first '{sorted(missing)[0]}'"
        )
    for name, module in experts.items():
        read = partial(_rows, checkpoint, {a: unit_of[f"{name}.{a}"] for a in samples[name]}, name, kept_dtype)
        state = Quantised(quantize_experts, kept_dtype, read, samples[name])  # type: ignore[arg-type]
        module.esft_quantised = state  # type: ignore[assignment]
    model.tie_weights()
    if (checkpoint.folder / "generation_config.json").is_file():
        with named(checkpoint.folder, "its generation_config.json cannot be read"):
            model.generation_config = GenerationConfig.from_pretrained(checkpoint.folder)
    give_back_freed()
    return model.eval()


def _own(value: Tensor, mapped: set[int]) -> Tensor:
    """The value in memory of its own: not the file's, which would keep the shard mapped, nor a part of something else.

    Args:
        value: A tensor.
        mapped: Where the memory of the files' tensors begins.
    """
    storage = value.untyped_storage()
    alone = storage.nbytes() == value.nbytes and storage.data_ptr() not in mapped
    return value if alone and value.is_contiguous() else value.clone(memory_format=torch.contiguous_format)


def _empty_model(checkpoint: BaseCheckpoint, dtype: torch.dtype, attn_implementation: str | None) -> PreTrainedModel:
    """The model with parameters on the meta device, and the buffers that no checkpoint holds already computed."""
    attention = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    config = copy.deepcopy(checkpoint.model.config)
    with named(checkpoint.folder, "no model can be made of it"), init_empty_weights(include_buffers=False):
        model = auto_class(config).from_config(config, dtype=dtype, **attention)
    held = {name for unit in checkpoint.units for name in unit.parameters}
    for name, buffer in model.named_buffers():
        if name in held:
            owner, _, attribute = name.rpartition(".")
            model.get_submodule(owner)._buffers[attribute] = buffer.to("meta")
    return model


def _dtypes(model: PreTrainedModel, tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The dtype of each tensor: its own as the model makes it, or fp32 where the family insists on that."""
    found = {name: value.dtype for name, value in tensors.items()}
    plan: dict[str, Any] = model._get_dtype_plan(dtype)
    if plan:
        pattern, pattern_of_group, _ = build_glob_alternation(list(plan))
        for name in found:
            if match := pattern.search(name):
                found[name] = plan[pattern_of_group[str(match.lastgroup)]]
    return found


def _first_dtype(checkpoint: BaseCheckpoint) -> torch.dtype:
    """The dtype of the first floating tensor, for a configuration that does not say."""
    for unit in checkpoint.units:
        for tensor in checkpoint.read(unit).values():
            if tensor.is_floating_point():
                return tensor.dtype
    raise CheckpointError(f"{checkpoint.folder} holds no floating-point weights")


def _rows(
    checkpoint: BaseCheckpoint,
    units: dict[str, Unit],
    experts: str,
    dtype: torch.dtype,
    name: str,
    expert_ids: Sequence[int],
) -> Tensor:
    """Some experts' full values of a quantised parameter, from the files; of no other where they are stored apart."""
    parameter = f"{experts}.{name}"
    num_experts = checkpoint.model.get_parameter(parameter).shape[0]
    return checkpoint.of_experts(units[name], num_experts, expert_ids)[parameter].to(dtype, copy=True)
