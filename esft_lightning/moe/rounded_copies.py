"""Rounded copies of fp32 weights, as a forward computes with them: made when they are read, and gone soon after.

What trains is kept in fp32 and multiplied in the base's bf16 or fp16. Autograd would keep every such copy until
backward has used it, two more bytes for each trained parameter; `copies_not_kept` lets backward make them again.
Generation reads the same weights token after token; `copies_kept` makes each copy once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

LOW_PRECISION = (torch.bfloat16, torch.float16)


def rounded_copy(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight in the dtype to compute in, differentiable; the weight itself where it has that dtype already.

    Args:
        weight: What is kept.
        dtype: What is computed in.
    """
    if weight.dtype == dtype:
        return weight
    if torch.compiler.is_compiling():
        return weight.to(dtype)
    if _kept is not None and isinstance(weight, nn.Parameter) and not torch.is_grad_enabled():
        return _kept.of(weight, dtype)
    copy = weight.to(dtype)
    if _made is not None and copy.requires_grad:
        _made.note(copy, weight)
    return copy


class _Again(NamedTuple):
    """What backward needs instead of a copy: the weight, and which view of its copy was saved."""

    weight: Tensor
    dtype: torch.dtype
    size: Sequence[int]
    stride: Sequence[int]
    offset: int


class _Made:
    """The rounded copies that are alive, by their storages: autograd is handed the weight in their place."""

    def __init__(self) -> None:
        self._weights: dict[int, tuple[weakref.ref, Tensor]] = {}

    def note(self, copy: Tensor, weight: Tensor) -> None:
        storage = copy.untyped_storage()
        key = storage._cdata

        def forget(_: object) -> None:
            self._weights.pop(key, None)

        self._weights[key] = weakref.ref(storage, forget), weight.detach()

    def pack(self, tensor: Tensor) -> Tensor | _Again:
        _, weight = self._weights.get(tensor.untyped_storage()._cdata, (None, None))
        if weight is None:
            return tensor
        return _Again(weight, tensor.dtype, tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    @staticmethod
    def unpack(saved: Tensor | _Again) -> Tensor:
        if isinstance(saved, Tensor):
            return saved
        with torch.no_grad():
            return saved.weight.to(saved.dtype).as_strided(saved.size, saved.stride, saved.offset)


class _Kept:
    """Copies that are made once, as long as their weights stay as they are."""

    def __init__(self) -> None:
        self._copies: dict[tuple[int, torch.dtype], tuple[Tensor, int, int, Tensor]] = {}

    def of(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        key = id(weight), dtype
        known, version, place, copy = self._copies.get(key, (None, 0, 0, weight))
        if known is not weight or (version, place) != (weight._version, weight.data_ptr()):
            copy = weight.to(dtype)
            self._copies[key] = weight, weight._version, weight.data_ptr(), copy
        return copy


_made: _Made | None = None
_kept: _Kept | None = None


@contextmanager
def copies_not_kept(enabled: bool = True) -> Iterator[None]:
    """Let backward of what runs inside make rounded copies again, one at a time, instead of keeping all of them.

    Where layers are recomputed in backward anyway, a layer's copies come and go with it, and nothing changes.

    Args:
        enabled: Whether to do so at all.
    """
    global _made
    if not enabled or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        yield
        return
    before, _made = _made, _Made()
    try:
        with torch.autograd.graph.saved_tensors_hooks(_made.pack, _made.unpack):
            yield
    finally:
        _made = before


@contextmanager
def copies_kept() -> Iterator[None]:
    """Make each rounded copy once for all forwards inside that take no gradients, and let all of them go afterwards."""
    global _kept
    if _kept is not None:
        yield
        return
    _kept = _Kept()
    try:
        yield
    finally:
        _kept = None
