"""What autograd keeps of a forward for its backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class SavedStorages:
    """The storages that autograd has kept, each once."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Start with none.

        Args:
            weights: Tensors that are there anyway and do not count.
        """
        self._weights = {tensor.untyped_storage().data_ptr() for tensor in weights}
        self._kept: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        """Their size together."""
        return sum(self._kept.values())

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor's storage, and hand the tensor on."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights:
            self._kept[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def saved_storages(weights: Iterable[Tensor]) -> Iterator[SavedStorages]:
    """Count what autograd keeps of the forwards inside the `with` block.

    Args:
        weights: Tensors that are there anyway and do not count.
    """
    saved = SavedStorages(weights)
    with torch.autograd.graph.saved_tensors_hooks(saved.note, lambda tensor: tensor):
        yield saved
