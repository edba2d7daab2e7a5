"""A short name for a model's exact weights, cheap enough for hundreds of gigabytes.

Profiles and adapters carry it, so that neither is used with another model. It samples; it is no cryptographic proof.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.moe.placement import real_weights
from esft_lightning.moe.quantised_bank import quantised

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
    grouped = grouped_routing(model)
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    samples = (
        _sample_of_full(model, name, parameter)
        for name, parameter in model.named_parameters()
        if ".trained_bank." not in name and ".lora_" not in name and not (parameter.is_meta and name in tied)
    )
    return fingerprint_of_samples(model.config, samples, extra="" if grouped is None else grouped.digest)


def fingerprint_of_samples(config: PretrainedConfig, samples: Iterable[bytes], extra: str = "") -> str:
    """The fingerprint from `sample_of` every parameter, in the order of `named_parameters()`, for a streamed base.

    Args:
        config: The model's configuration.
        samples: One `sample_of` per parameter.
        extra: Whatever else makes it another base.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(_weight_settings(config))
    for sample in samples:
        digest.update(sample)
    digest.update(extra.encode())
    return digest.hexdigest()[:16]


def sample_of(name: str, parameter: Tensor) -> bytes:
    """What a fingerprint takes of one parameter: its name, its shape, evenly spaced values.

    Args:
        name: The parameter's name in the bare model.
        parameter: Its value, in any dtype and on any device.
    """
    values = parameter.detach().reshape(-1)
    values = values[:: max(1, values.numel() // _SAMPLES)]
    head = f"{name} {tuple(parameter.shape)}".encode()
    return head + values.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()


def _sample_of_full(model: PreTrainedModel, name: str, parameter: Tensor) -> bytes:
    """`sample_of` a base parameter, or the one taken of its full weight while it was loaded."""
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    state = None if parameter.is_floating_point() else quantised(module)
    if state is not None:
        return state.samples[attribute]
    with real_weights(module):  # offloaded weights are fetched, a module's at a time
        return sample_of(name.replace(".base_layer", ""), module.get_parameter(attribute))


def config_hash(config: PretrainedConfig) -> str:
    """Digest of the settings that make an architecture; 16 hexadecimal digits."""
    return hashlib.sha256(_weight_settings(config)).hexdigest()[:16]


def _weight_settings(config: PretrainedConfig) -> bytes:
    settings = {
        key: value for key, value in config.to_dict().items() if not key.startswith("_") and key not in _NOT_WEIGHTS
    }
    return json.dumps(settings, sort_keys=True, default=str).encode()
