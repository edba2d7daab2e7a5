"""Models whose layers lie on several devices, in the host's memory or on disk (accelerate's hooks): where they compute.

Weights that are offloaded stand on the meta device between uses; accelerate's hooks fetch them for a module's forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def has_offloaded_weights(model: nn.Module) -> bool:
    """Whether some weights stand on the meta device until they are used."""
    return any(parameter.is_meta for parameter in model.parameters())


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: accelerate's execution device where it has one, else where its first parameter lies.

    Args:
        module: A module with parameters.
    """
    chosen = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
    if chosen is None:
        return next(module.parameters()).device
    return torch.device("cuda", chosen) if isinstance(chosen, int) else torch.device(chosen)


def input_device(model: Any) -> torch.device:
    """Where a model takes its token ids: where its embeddings compute.

    Args:
        model: A Transformers model.
    """
    return device_of(model.get_input_embeddings())


@contextmanager
def real_weights(module: nn.Module) -> Iterator[None]:
    """The module's own parameters with their values, on the device where it computes, for the length of a `with` block.

    Args:
        module: A module, offloaded or not; what lies in its children is left alone.
    """
    if not any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        yield
        return
    from accelerate.utils import align_module_device

    with align_module_device(module):
        yield
