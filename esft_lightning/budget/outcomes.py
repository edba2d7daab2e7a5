"""What operators make of given shapes on the meta device, remembered.

Most of PyTorch's kernels for meta tensors are written in Python and slow, and a step asks for the same some hundred
times.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class _Outcome:
    """What an operator made: one tensor or several (shape, strides, dtype), and its floating-point operations."""

    tensors: tuple[tuple[Sequence[int], Sequence[int], torch.dtype], ...]
    alone: bool
    flops: int

    def again(self) -> Any:
        """Make it anew, empty."""
        made = tuple(torch.empty_strided(*size, dtype=dtype, device="meta") for *size, dtype in self.tensors)
        return made[0] if self.alone else made


class Outcomes:
    """Runs operators on meta tensors, each once for the shapes that it is given."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._found: dict[Hashable, _Outcome] = {}

    def run(
        self, func: Any, args: Any, kwargs: Any, really: Callable[[Any, Any, Any], tuple[Any, int]]
    ) -> tuple[Any, int]:
        """Run an operator, or make empty tensors like those that it made before.

        Args:
            func: The operator (`torch._ops.OpOverload`).
            args: Its arguments.
            kwargs: Its arguments by name.
            really: Runs it: result and floating-point operations.

        Returns:
            Result and floating-point operations.
        """
        call = _described_call(func, args, kwargs)
        if call in self._found:
            outcome = self._found[call]
            return outcome.again(), outcome.flops
        result, flops = really(func, args, kwargs)
        parts = (result,) if isinstance(result, Tensor) else result
        if (
            call is not None
            and isinstance(parts, tuple)
            and all(map(_is_plain, parts))
            # Some operators say that they make their result anew, and hand on what they are given (_unsafe_view).
            and not _storages(parts) & _storages((args, kwargs))
        ):
            tensors = tuple((part.shape, part.stride(), part.dtype) for part in parts)
            self._found[call] = _Outcome(tensors, parts is not result, flops)
        return result, flops


def _described_call(func: Any, args: Any, kwargs: Any) -> Hashable:
    """Equal for calls with an equal outcome; None where the operator says that it hands on or changes what it gets."""
    return (func, _described(args), _described(tuple(kwargs.items()))) if _makes_anew(func) else None


@cache
def _makes_anew(func: Any) -> bool:
    schema = func._schema
    return all(item.alias_info is None for item in (*schema.arguments, *schema.returns))


def _described(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device.type, value.is_conj(), value.is_neg()
    if isinstance(value, list | tuple):
        return tuple(map(_described, value))
    return type(value), value


def _is_plain(value: Any) -> bool:
    """Whether an empty tensor of its shape, strides and dtype can stand for it."""
    return isinstance(value, Tensor) and value.device.type == "meta" and not (value.is_conj() or value.is_neg())


def _storages(values: Any) -> set[int]:
    return {leaf.untyped_storage()._cdata for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
