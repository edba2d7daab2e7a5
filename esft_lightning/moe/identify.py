"""The one place where a loaded model gets its `ModelIdentity`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from esft_lightning.identity import ModelIdentity
from esft_lightning.moe.fingerprint import model_fingerprint
from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.moe.quantised_bank import quantised

_CHUNK = 1 << 24  # bytes of a tensor that are on their way to the digest at once


def identify(model: PreTrainedModel) -> ModelIdentity:
    """What an untouched base is: taken before anything trains, and before another library writes to its configuration.

    Args:
        model: A loaded model, its experts bound in groups where they shall be; nothing in it is trained yet.

    Returns:
        The identity, without tokenizer, precision, adapter and what is trained, which the model does not know.
    """
    grouping = grouped_routing(model)
    forms = sorted({state.quantisation for module in model.modules() if (state := quantised(module)) is not None})
    dtypes = sorted({str(value.dtype) for value in model.parameters() if value.is_floating_point()})
    return ModelIdentity(
        weights=model_fingerprint(model),
        dtype=" ".join(dtypes).replace("torch.", ""),
        quantization=" ".join(forms),
        attention=str(model.config._attn_implementation or ""),
        grouping="" if grouping is None else grouping.digest,
    )


def trained_digest(tensors: Mapping[str, Tensor], facts: Iterable[str] = ()) -> str:
    """Digest of every bit of what was trained, and of what gives the tensors their meaning.

    Args:
        tensors: What was trained, by name, on any device.
        facts: Settings of the strategy, selection.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256("\n".join(facts).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        for part in tensor.detach().contiguous().reshape(-1).view(torch.uint8).split(_CHUNK):
            digest.update(part.cpu().numpy().data)
    return digest.hexdigest()[:16]
