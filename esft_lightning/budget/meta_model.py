"""A model from its configuration alone, on the meta device: every shape, no weight, a fraction of a second at 236B."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from esft_lightning.assets import model_folder
from esft_lightning.moe import find_moe_layers
from esft_lightning.moe.loading import Dtype


def meta_model(
    base: str | Path,
    *,
    dtype: Dtype = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    attn_implementation: str | None = None,
) -> PreTrainedModel:
    """Build a Mixture-of-Experts causal LM without weights.

    Args:
        base: `tiny` (the embedded model), a folder with a `config.json` (or that file), or a hub id.
        dtype: Storage dtype of the weights; `auto` is the configuration's own.
        revision: Hub revision (branch, tag or commit).
        trust_remote_code: Run model code that comes with the configuration. Only for sources that you trust.
        attn_implementation: Transformers' attention implementation; None lets Transformers choose.

    Returns:
        The model in train mode, frozen, on the meta device, with grouped-matmul experts.

    Raises:
        NotAnMoEError: If the model has no routed experts.
        OSError: If the configuration cannot be found or read.
    """
    source = str(model_folder(str(base)) or base)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    # A copy, since models made from one configuration object would share its switches.
    try:
        config = copy.deepcopy(AutoConfig.from_pretrained(source, **options))
    except OSError as error:
        raise OSError(
            f"{base}: no configuration found (neither a folder with a config.json nor a hub id): {error}"
        ) from error
    stored = (config.dtype or torch.float32) if dtype == "auto" else getattr(torch, dtype)
    attention = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=stored, trust_remote_code=trust_remote_code, **attention)
    find_moe_layers(model)
    model.set_experts_implementation("grouped_mm")
    return model.requires_grad_(False).train()
