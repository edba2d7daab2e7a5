"""Finding what makes the host wait for an accelerator, on a machine that may have none.

On CUDA, torch's own sync debug mode says it. Elsewhere two modes stand in: one sees the operators whose result the host
needs before it can go on, the other the calls that read tensors or copy them from unpinned memory.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Operators that need values for the shape of their result, or give a number.
_OPERATORS = (
    "_local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "nonzero_numpy", "argwhere", "masked_select",
    "bincount", "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive",
    "repeat_interleave.Tensor",
)  # fmt: skip
_INDEXING = ("index.Tensor", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index.Tensor")
_READINGS: tuple[Callable[..., Any], ...] = (
    Tensor.tolist, Tensor.item, Tensor.numpy, Tensor.cpu, Tensor.__bool__, Tensor.__int__, Tensor.__float__,
    Tensor.__index__,
)  # fmt: skip
_SAID_BY_TORCH = "called a synchronizing CUDA operation"
_COPIES: tuple[Callable[..., Any], ...] = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class DeviceWaitError(RuntimeError):
    """Something would make the host wait for an accelerator."""


class _Operators(TorchDispatchMode):
    def __init__(self, waited: Callable[[str], None]) -> None:
        super().__init__()
        self._waited = waited

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        plain = name.partition(".")[0]
        if plain in _OPERATORS or name in _OPERATORS:
            self._waited(name)
        if name in _INDEXING or plain in _INDEXING:
            indices = [index for index in args[1] if isinstance(index, Tensor)]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                self._waited(f"{name} with a mask")
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, waited: Callable[[str], None]) -> None:
        super().__init__()
        self._waited = waited

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READINGS or func in _COPIES:
            self._waited(getattr(func, "__name__", str(func)))
        # By name: what is sent to another tensor's device is sent to the CPU only where all of this runs there.
        if func is Tensor.to and "cpu" in [v for v in (*args[1:], *(kwargs or {}).values()) if isinstance(v, str)]:
            self._waited("to('cpu')")
        return func(*args, **(kwargs or {}))


def _place() -> str:
    """Which line asked: the innermost one that is not torch's own."""
    frame: Any = sys._getframe()
    while frame is not None and (f"{os.sep}torch{os.sep}" in frame.f_code.co_filename or frame.f_globals is globals()):
        frame = frame.f_back
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@contextmanager
def device_waits(device: torch.device, *, refused: bool = True) -> Iterator[list[str]]:
    """Watch for waits in what runs inside.

    Args:
        device: Where it runs; the two modes stand in wherever that is no CUDA device.
        refused: Let a wait be an error where it happens; else it is only noted.

    Yields:
        What waited, in order.

    Raises:
        DeviceWaitError: If something waits and waits are refused (on CUDA, torch's own RuntimeError).
    """
    waits: list[str] = []
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("error" if refused else "warn")
            try:
                yield waits
            finally:
                torch.cuda.set_sync_debug_mode(before)
                waits += [
                    f"{Path(one.filename).name}:{one.lineno}" for one in caught if _SAID_BY_TORCH in str(one.message)
                ]
        return

    def waited(what: str) -> None:
        waits.append(f"{what} in {_place()}")
        if refused:
            raise DeviceWaitError(f"{waits[-1]} would make the host wait for an accelerator")

    with _Operators(waited), _Calls(waited):
        yield waits
