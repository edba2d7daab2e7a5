"""Memory that libraries keep for later: what a model in the size of the machine cannot spare."""

from __future__ import annotations

import ctypes
import os
import sys

_PRIMITIVES = 16


def give_back_freed() -> None:
    """Return freed memory that the C library keeps for later to the system; nothing where the library is not glibc."""
    trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_primitive_cache() -> None:
    """Let oneDNN, which multiplies in bf16 on CPUs, keep few compiled products, unless the environment says how many.

    It compiles one for each shape and keeps 1,024, up to two megabytes each. Experts get another number of rows in
    every batch, so what it keeps of theirs is hardly met again. The variable is read when oneDNN first computes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_PRIMITIVES))
