"""A short name for a model's exact weights, cheap enough for hundreds of gigabytes.

Profiles and adapters carry it, so that neither is used with another model. It samples; it is no cryptographic proof.
"""

from __future__ import annotations

import hashlib
import json

import torch
from transformers import PreTrainedModel

from esft_lightning.moe.grouped_routing import grouped_routing

_SAMPLES = 1024  # per tensor: at least two of each expert up to 512 experts
_NOT_WEIGHTS = {"transformers_version", "use_cache", "dtype", "torch_dtype", "architectures", "name_or_path"}


def model_fingerprint(model: PreTrainedModel) -> str:
    """Digest of a model's configuration and of evenly spaced values of each base parameter.

    Trained banks and LoRA factors do not count: the fingerprint names the base. Parameters that a strategy trains in
    place do, so take it before training. Values are compared in bfloat16, so that a checkpoint has one name however it
    is loaded. Routing to groups of experts makes another base of it.

    Args:
        model: A loaded model, on any device.

    Returns:
        16 hexadecimal digits.
    """
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if not key.startswith("_") and key not in _NOT_WEIGHTS
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, parameter in model.named_parameters():
        if ".trained_bank." in name or ".lora_" in name:
            continue
        name = name.replace(".base_layer", "")
        values = parameter.detach().reshape(-1)
        values = values[:: max(1, values.numel() // _SAMPLES)]
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(values.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes())
    if (grouped := grouped_routing(model)) is not None:
        digest.update(grouped.digest.encode())
    return digest.hexdigest()[:16]
