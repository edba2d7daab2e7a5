"""Loading an MoE language model and its tokenizer: the embedded tiny one, a local folder, or a hub id."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoConfig, PreTrainedModel

from esft_lightning.assets import model_folder
from esft_lightning.data.tokenizer import load_tokenizer
from esft_lightning.moe.auto_class import auto_class
from esft_lightning.moe.discovery import find_moe_layers

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

    Returns:
        The model, in eval mode, with grouped-matmul experts and a configuration of its own.

    Raises:
        NotAnMoEError: If the model has no routed experts, or is no language model.
        OSError: If the checkpoint cannot be found or read.
    """
    source = str(model_folder(str(base)) or base)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    torch_dtype = "auto" if dtype == "auto" else getattr(torch, dtype)
    attention = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    config = AutoConfig.from_pretrained(source, **options)
    if random_weights:
        # A copy, since models made from one configuration object would share its switches.
        config = copy.deepcopy(config)
        if torch_dtype == "auto":
            torch_dtype = config.dtype or torch.float32
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = auto_class(config).from_config(
                config, dtype=torch_dtype, trust_remote_code=trust_remote_code, **attention
            )
    else:
        model = auto_class(config).from_pretrained(source, dtype=torch_dtype, **options, **attention)
    find_moe_layers(model)
    model.set_experts_implementation("grouped_mm")
    return model.eval()
