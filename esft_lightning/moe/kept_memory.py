"""Memory that libraries keep for later: what a model in the size of the machine cannot spare."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_PRIMITIVES = 16
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BLOCK, _TOP_OF_HEAP = 2**20, 2**17  # bytes


def give_back_freed() -> None:
    """Return freed memory that the C library keeps for later to the system; nothing where the library is not glibc."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def give_back_large_blocks_when_freed() -> None:
    """Let every block of a megabyte and more go back to the system as soon as it is freed, from here on.

    By itself glibc comes to do so from 32 MB only, and what lies in its heap below a block still used stays there:
    0.4 GB of a backward pass of OLMoE-1B-7B. The price is page faults, as each such block is new to the process.
    Nothing where the library is not glibc, or where the environment says what to do (`MALLOC_MMAP_THRESHOLD_`).
    """
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ and (option := _of_glibc("mallopt")):
        option(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        option(_M_TRIM_THRESHOLD, _TOP_OF_HEAP)


def bound_primitive_cache() -> None:
    """Let oneDNN, which multiplies in bf16 on CPUs, keep few compiled products, unless the environment says how many.

    It compiles one for each shape and keeps 1,024, up to two megabytes each. Experts get another number of rows in
    every batch, so what it keeps of theirs is hardly met again. The variable is read when oneDNN first computes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRIMITIVES))


def _of_glibc(function: str) -> Callable[..., int] | None:
    """A function of the C library, where that is glibc."""
    if sys.platform == "win32":
        return None
    library = ctypes.CDLL(None)
    return getattr(library, function, None) if hasattr(library, "gnu_get_libc_version") else None
