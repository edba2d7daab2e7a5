"""The pretraining mixture of the tiny model: text of every domain, and real text that every Python carries.

Generated domains come from the modules beside this one (``documents``, and ``chats`` where a domain has them). Real
text is standard-library source (domain ``source``) and the language reference that ``pydoc`` ships (``reference``),
in short chunks; both depend on the Python version, which the pretraining record names.

Held out: generated text by seed (so a short sentence may by chance be drawn in both), standard-library text by file
or topic. Pairs of the adaptation tasks are never part of the mixture: those modules offer documents alone.

This file yields texts and packed token rows. It knows no model; the tokenizer is any ``list[str] -> list[list[int]]``.
"""

from __future__ import annotations

import importlib
import random
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

__all__ = ["WEIGHTS", "RowStream", "domain_texts", "held_out_texts"]

# Share of the tokens. The enhancement domains and the general one get most, since the model must become partly able
# in them; the adaptation domains need only enough text for experts to specialise on.
WEIGHTS: dict[str, float] = {
    "math": 0.27,
    "code": 0.17,
    "general": 0.26,
    "intent": 0.07,
    "summary": 0.05,
    "law": 0.06,
    "translation": 0.05,
    "source": 0.05,
    "reference": 0.02,
}
_CHAT_SHARE = {"math": 0.7, "code": 0.7, "general": 0.65}  # of a domain's texts
_CHUNK = 1200  # characters of a chunk of real text
_LARGE_TABLES = ("encodings", "test", "idlelib", "lib2to3", "site-packages", "ensurepip", "turtledemo", "pydoc_data")
_HELD_OUT_EVERY = 40


def _held_out_name(name: str) -> bool:
    return zlib.crc32(name.encode()) % _HELD_OUT_EVERY == 0


def _chunks(text: str, size: int = _CHUNK) -> Iterator[str]:
    """``text`` cut at line ends into pieces of about ``size`` characters."""
    piece = ""
    for line in text.splitlines(keepends=True):
        if piece and len(piece) + len(line) > size:
            yield piece.strip("\n")
            piece = ""
        piece += line[:size]
    if piece.strip():
        yield piece.strip("\n")


@cache
def _source_files() -> tuple[Path, ...]:
    root = Path(sysconfig.get_paths()["stdlib"])
    found = (path for path in root.rglob("*.py") if not set(path.relative_to(root).parts) & set(_LARGE_TABLES))
    return tuple(sorted(found))


def _source_texts(rng: random.Random, held_out: bool) -> Iterator[str]:
    """Endless chunks of standard-library source."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in _source_files() if _held_out_name(str(path.relative_to(root))) == held_out]
    if not files:
        raise FileNotFoundError(f"no standard-library source under {root}; the corpus needs a Python that has it")
    while True:
        chunks = list(_chunks(rng.choice(files).read_text(encoding="utf-8", errors="ignore")))
        if chunks:
            yield from rng.sample(chunks, min(4, len(chunks)))


def _reference_texts(rng: random.Random, held_out: bool) -> Iterator[str]:
    """Endless chunks of the language reference as shipped for ``pydoc``."""
    topics = importlib.import_module("pydoc_data.topics").topics
    names = [name for name in sorted(topics) if _held_out_name(name) == held_out]
    while True:
        chunks = list(_chunks(topics[rng.choice(names)]))
        yield from rng.sample(chunks, min(4, len(chunks)))


def chat_text(user: str, assistant: str) -> str:
    """A chat as pretraining reads it; the begin and end tokens are added with the token ids."""
    return f"User: {user}\n\nAssistant: {assistant}"


def domain_texts(domain: str, seed: int | str, held_out: bool = False) -> Iterator[str]:
    """Endless texts of one domain of :data:`WEIGHTS`, chats among documents where the domain has chats.

    Args:
        domain: A key of :data:`WEIGHTS`.
        seed: Seed of the stream.
        held_out: Draw from the held-out seeds, files and topics.

    Raises:
        KeyError: ``domain`` is not a domain of the mixture.
    """
    if domain not in WEIGHTS:
        raise KeyError(f"no domain {domain!r} in the pretraining mixture; the domains are {', '.join(WEIGHTS)}")
    rng = random.Random(f"{'held-out' if held_out else 'pretraining'}-{domain}-{seed}")
    if domain == "source":
        yield from _source_texts(rng, held_out)
    elif domain == "reference":
        yield from _reference_texts(rng, held_out)
    module = importlib.import_module(f"esft_lightning.data.embedded.{domain}")
    documents = module.documents(random.Random(rng.random()))
    chats: Iterator[tuple[str, str]] = iter(())
    if domain in _CHAT_SHARE:
        chats = module.chats(random.Random(rng.random()))
    while True:
        if rng.random() < _CHAT_SHARE.get(domain, 0.0):
            user, assistant = next(chats)
            yield chat_text(user, assistant)
        else:
            yield next(documents)


def held_out_texts(domain: str, count: int, seed: int = 0) -> list[str]:
    """``count`` texts of ``domain`` that pretraining did not draw."""
    return list(islice(domain_texts(domain, seed, held_out=True), count))


class RowStream:
    """An endless stream of packed rows, balanced by tokens.

    The domain that lags furthest behind its weight comes next. A row holds texts of one domain, ``<s> text </s>``
    after one another, and always begins with ``<s>``, as prompts do later; what the end of a row cuts off is dropped.
    The rows depend on the seed, on the lengths asked for and on the Python version.

    Args:
        encode: Texts → token ids without special tokens.
        bos: Id of ``<s>``.
        eos: Id of ``</s>``.
        seed: Seed of the stream.
        buffer: Texts tokenised at a time.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], Sequence[Sequence[int]]],
        bos: int,
        eos: int,
        seed: int | str = 0,
        buffer: int = 256,
    ):
        self._encode, self._bos, self._eos, self._buffer = encode, bos, eos, buffer
        self._texts = {domain: domain_texts(domain, seed) for domain in WEIGHTS}
        self._waiting: dict[str, list[int]] = {domain: [] for domain in WEIGHTS}
        self.given = dict.fromkeys(WEIGHTS, 0)

    def next_row(self, length: int) -> tuple[str, list[int]]:
        """The next row: its domain and ``length`` token ids."""
        total = sum(self.given.values()) + length
        domain = max(WEIGHTS, key=lambda name: WEIGHTS[name] * total - self.given[name])
        ids = self._waiting[domain]
        while len(ids) < length:
            for encoded in self._encode(list(islice(self._texts[domain], self._buffer))):
                ids.append(self._bos)
                ids.extend(encoded)
                ids.append(self._eos)
        left = ids[length:]
        self._waiting[domain] = left[left.index(self._bos) :] if self._bos in left else []
        self.given[domain] += length
        return domain, ids[:length]
