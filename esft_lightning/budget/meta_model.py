"""A model from its configuration alone, on the meta device: every shape, no weight, a fraction of a second at 236B."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel

from esft_lightning.moe.base_checkpoint import skeleton
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
        BaseNotFoundError: If the configuration cannot be found.
        CheckpointError: If it cannot be read.
    """
    model = skeleton(
        base,
        revision,
        dtype=None if dtype == "auto" else getattr(torch, dtype),
        trust_remote_code=trust_remote_code,
        attn_implementation=attn_implementation,
    )
    model.set_experts_implementation("grouped_mm")
    return model.requires_grad_(False).train()
