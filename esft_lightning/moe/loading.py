"""Loading an MoE language model and its tokenizer: the embedded tiny one, a local folder, or a hub id."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from esft_lightning.errors import SettingError
from esft_lightning.moe.auto_class import auto_class
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, base_folder, named, read_config
from esft_lightning.moe.base_source import base_source
from esft_lightning.moe.discovery import find_moe_layers
from esft_lightning.moe.kept_memory import bound_primitive_cache
from esft_lightning.moe.rounded_weight import ExpertQuantisation, QuantisationError, check_can_round
from esft_lightning.moe.streamed_loading import load_streamed
from esft_lightning.moe.tokenizer import load_tokenizer
from esft_lightning.moe.two_bank import set_bare_implementation
from esft_lightning.moe.weight_files import has_safetensors, weight_files

__all__ = ["load_model", "load_tokenizer"]

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def load_model(
    base: str | Path,
    *,
    dtype: Dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    random_weights: bool = False,
    seed: int = 0,
    attn_implementation: str | None = None,
    quantize_experts: ExpertQuantisation | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    offload_folder: str | None = None,
) -> PreTrainedModel:
    """Load a Mixture-of-Experts language model, ready to be read or adapted.

    Args:
        base: `tiny` (the embedded model), `tiny@STEPS` (pretrained for fewer), a local folder, or a hub id.
        dtype: Storage dtype of the weights; `auto` is the checkpoint's own.
        revision: Hub revision (branch, tag or commit).
        trust_remote_code: Run model code that comes with the checkpoint. Only for sources that you trust.
        random_weights: Take only the configuration of `base` and draw the weights from `seed`.
        seed: Seed of the random weights; the global generator is left as it was.
        attn_implementation: Transformers' attention implementation; None lets Transformers choose.
        quantize_experts: `int8` or `nf4` (4-bit, by bitsandbytes) rounds the routed experts' matrices, for experts that
            are not trained; selected ones are read from the checkpoint again, in full.
        device_map: Spread the layers over devices, the host's memory (`cpu`) and disk: `auto`, another of accelerate's
            plans, or a mapping from module names to devices; None keeps the model in one place.
        offload_folder: Where weights on disk are kept; None makes a folder `offload` below the working directory.

    Returns:
        The model, in eval mode, with grouped-matmul experts and a configuration of its own.

    Raises:
        NotAnMoEError: If the model has no routed experts, or is no language model.
        BaseNotFoundError: If there is no such base.
        CheckpointError: If it cannot be read.
        QuantisationError: If experts cannot be quantised: random weights, a model with its own code, other than
            safetensors, bitsandbytes missing, or matrices that cannot be cut into its blocks.
        SettingError: If random or quantised weights are to be spread by a `device_map`.
    """
    if device_map is not None and (random_weights or quantize_experts):
        which = "random_weights" if random_weights else "quantize_experts"
        raise SettingError(f"device_map={device_map!r} spreads a checkpoint's own weights; leave it or {which} off")
    if quantize_experts and (random_weights or trust_remote_code):
        which = "random_weights" if random_weights else "trust_remote_code"
        raise QuantisationError(
            f"quantize_experts={quantize_experts} reads the selected experts from the checkpoint again, which {which} "
            f"rules out; leave one of the two off"
        )
    if quantize_experts:
        check_can_round(quantize_experts)
    bound_primitive_cache()
    source = base_source(base, revision)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    torch_dtype = "auto" if dtype == "auto" else getattr(torch, dtype)
    attention = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    config = read_config(base, revision, trust_remote_code)
    if not random_weights and (local := Path(source)).is_dir() and has_safetensors(local):
        weight_files(local)  # whoever reads it, an index does not lead out of the folder
    streamable = not trust_remote_code and getattr(config, "quantization_config", None) is None
    if random_weights:
        # A copy, since models made from one configuration object would share its switches.
        config = copy.deepcopy(config)
        if torch_dtype == "auto":
            torch_dtype = config.dtype or torch.float32
        with named(base, "no model can be made of its configuration"), torch.random.fork_rng():
            torch.manual_seed(seed)
            model = auto_class(config).from_config(
                config, dtype=torch_dtype, trust_remote_code=trust_remote_code, **attention
            )
    elif device_map is not None:
        place = {"device_map": device_map, "offload_folder": offload_folder or "offload"}
        with named(base, "it cannot be loaded"):
            model = auto_class(config).from_pretrained(source, dtype=torch_dtype, **options, **attention, **place)
    elif streamable and has_safetensors(folder := base_folder(base, revision)):
        model = load_streamed(
            BaseCheckpoint(folder),
            dtype=None if dtype == "auto" else getattr(torch, dtype),
            quantize_experts=quantize_experts,
            **attention,
        )
    elif quantize_experts:
        raise QuantisationError(
            f"quantize_experts={quantize_experts} needs {base}'s weights as safetensors, full, not quantised already"
        )
    else:
        with named(base, "it cannot be loaded"):
            model = auto_class(config).from_pretrained(source, dtype=torch_dtype, **options, **attention)
    find_moe_layers(model)
    set_bare_implementation(model)
    return model.eval()
