"""Real text that every Python carries: the source of its standard library, and the reference that ``pydoc`` ships.

In chunks cut at line ends; some files and topics are held out. Both depend on the Python version, which the pretraining
record names. There is only so much of it, so that pretraining reads each chunk a few times at most (:data:`READINGS`).
"""

from __future__ import annotations

import importlib
import random
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

__all__ = ["READINGS", "REAL", "chunks", "texts"]

READINGS = 4
"""How often pretraining reads a chunk at most, however long it is."""
_CHUNK = 1200  # characters
_LARGE_TABLES = ("encodings", "test", "idlelib", "lib2to3", "site-packages", "ensurepip", "turtledemo", "pydoc_data")
_HELD_OUT_EVERY = 40


def _held_out_name(name: str) -> bool:
    return zlib.crc32(name.encode()) % _HELD_OUT_EVERY == 0


def _cut(text: str) -> Iterator[str]:
    """``text`` cut at line ends into pieces of about `_CHUNK` characters."""
    piece = ""
    for line in text.splitlines(keepends=True):
        if piece and len(piece) + len(line) > _CHUNK:
            yield piece.strip("\n")
            piece = ""
        piece += line[:_CHUNK]
    if piece.strip():
        yield piece.strip("\n")


def _source(held_out: bool) -> Iterator[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (path for path in sorted(root.rglob("*.py")) if not set(path.relative_to(root).parts) & set(_LARGE_TABLES))
    for path in files:
        if _held_out_name(path.relative_to(root).as_posix()) == held_out:
            yield from _cut(path.read_text(encoding="utf-8", errors="ignore"))


def _reference(held_out: bool) -> Iterator[str]:
    topics = importlib.import_module("pydoc_data.topics").topics
    for name in sorted(topics):
        if _held_out_name(name) == held_out:
            yield from _cut(topics[name])


REAL: dict[str, Callable[[bool], Iterator[str]]] = {"source": _source, "reference": _reference}
"""Domain of real text → its chunks, those read or those held out."""


@cache
def chunks(domain: str, held_out: bool = False) -> tuple[str, ...]:
    """All chunks of one domain, in a fixed order, each text once.

    Raises:
        FileNotFoundError: This Python has no such text.
    """
    texts = tuple(dict.fromkeys(REAL[domain](held_out)))
    if not texts:
        raise FileNotFoundError(
            f"this Python has no text of the domain {domain}; the corpus needs its standard library"
        )
    return texts


def texts(domain: str, rng: random.Random, held_out: bool = False) -> Iterator[str]:
    """Endless chunks: all of them in random order, then all again in another."""
    while True:
        yield from rng.sample(chunks(domain, held_out), len(chunks(domain, held_out)))
