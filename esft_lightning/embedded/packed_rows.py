"""What a pretraining run reads, step by step: a plan that follows from the seed alone, and its rows of tokens.

Every step has rows of one length, spread over the domains so that their shares of the tokens are kept. A row is made
from the seed and its place in the run, so that any process can make any step's rows, a run goes on where it stopped,
and a longer run begins as a shorter one does (until the shorter one's instruction stage).

A row begins with ``<s>`` and holds texts of one domain, ``<s> text </s>`` one after another. A text too long for what
is left of the row waits for a longer row; only when several do not fit, the last one is cut. Real text is one stream
of chunks, in another order at every reading; a row takes up where the last one ended, and after the last reading the
domain's share goes to the others.

This file knows no model; the tokenizer is any ``list[str] -> list[list[int]]``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np

from esft_lightning.embedded import real_text
from esft_lightning.embedded.corpus import OPENING, STAGE, WEIGHTS, domain_texts

__all__ = ["LENGTHS", "SHORT", "PackedRows", "Row", "StepPlan"]

Encode = Callable[[list[str]], Sequence[Sequence[int]]]

LENGTHS: dict[int, float] = {256: 0.20, 512: 0.40, 1024: 0.25, 1536: 0.15}
"""Length of a step's rows → how often; most are longer than the tasks' rows, and some hold several solved questions."""
SHORT: dict[int, float] = {64: 0.7, 128: 0.2, 256: 0.1}
"""The same in the opening: where few tokens stand before, it is found early which of them helps."""
_TRIES = 6
"""Texts that may be too long for the rest of a row before the last of them is cut."""


@dataclass(frozen=True)
class Row:
    """One row of the plan.

    Attributes:
        domain: Whose texts it holds.
        offset: Tokens of this domain before it; real text goes on from there.
    """

    domain: str
    offset: int


@dataclass(frozen=True)
class StepPlan:
    """One step of the plan: rows of one length."""

    length: int
    rows: tuple[Row, ...]


@dataclass
class PackedRows:
    """The rows of one run.

    Attributes:
        encode: Texts → token ids without special tokens.
        bos: Id of ``<s>``.
        eos: Id of ``</s>``.
        seed: Seed of plan and texts.
        batch_tokens: Tokens of a step; every row length divides it.
        opening: Steps of the opening.
        stage_from: First step of the instruction stage; None for a run without.
        weights: Shares of the domains between opening and stage.
    """

    encode: Encode
    bos: int
    eos: int
    seed: int | str = 0
    batch_tokens: int = 3072
    opening: int = 0
    stage_from: int | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    def __post_init__(self) -> None:
        """Check that rows fill a step.

        Raises:
            ValueError: A row length that does not divide `batch_tokens`, which is named.
        """
        if odd := [length for length in LENGTHS | SHORT if self.batch_tokens % length]:
            raise ValueError(
                f"batch_tokens={self.batch_tokens}: expected a multiple of every row length, but not of {odd[0]}"
            )
        self._streams: dict[str, _RealStream] = {}

    def plan(self, steps: int) -> Iterator[StepPlan]:
        """The first `steps` steps. The domain that lags furthest behind its share gets the next row."""
        lengths = random.Random(f"lengths-{self.seed}")
        read: Counter[str] = Counter()  # by all steps
        given: Counter[str] = Counter()  # under the present shares
        shares: Mapping[str, float] = {}
        for step in range(steps):
            in_stage = self.stage_from is not None and step >= self.stage_from
            now = STAGE if in_stage else OPENING if step < self.opening else self.weights
            if now is not shares:
                shares, given = now, Counter()
            often = SHORT if now is OPENING else LENGTHS
            length = lengths.choices(list(often), list(often.values()))[0]
            rows = []
            for _ in range(self.batch_tokens // length):
                total = given.total() + length
                open_domains = [name for name in shares if self._has(name, read[name] + length)]
                domain = max(open_domains, key=lambda name: shares[name] * total - given[name])
                rows.append(Row(domain, read[domain]))
                given[domain] += length
                read[domain] += length
            yield StepPlan(length, tuple(rows))

    def step(self, number: int, plan: StepPlan) -> np.ndarray:
        """The rows of step `number`, [rows, length] int64."""
        return np.array(
            [self.row(row, plan.length, f"{self.seed}-{number}-{place}") for place, row in enumerate(plan.rows)]
        )

    def row(self, row: Row, length: int, seed: str) -> list[int]:
        """The token ids of one row."""
        if row.domain in real_text.REAL:
            # a row opens with <s>, which the stream need not have at that place
            return [self.bos, *self._real(row.domain).tokens(row.offset, length - 1)]
        ids: list[int] = []
        too_long = 0
        texts = domain_texts(row.domain, seed)
        while len(ids) < length:
            # a generated text has 80 tokens or more on average
            for encoded in self.encode(list(islice(texts, 1 + (length - len(ids)) // 80))):
                text = [self.bos, *encoded, self.eos]
                left = length - len(ids)
                if len(text) <= left or too_long >= _TRIES or left < length // 8:
                    ids += text
                else:
                    too_long += 1
                if len(ids) >= length:
                    break
        return ids[:length]

    def real_tokens(self, domain: str) -> int:
        """Tokens of one reading of a domain of real text."""
        return self._real(domain).size

    def _has(self, domain: str, tokens: int) -> bool:
        """Whether a domain has so many tokens: real text is read a few times, generated text has no end."""
        return domain not in real_text.REAL or tokens <= self._real(domain).most

    def _real(self, domain: str) -> _RealStream:
        if domain not in self._streams:
            chunks = _encoded_chunks(domain, self.encode, self.bos, self.eos)
            self._streams[domain] = _RealStream(chunks, f"{self.seed}-{domain}")
        return self._streams[domain]


@lru_cache(maxsize=4)
def _encoded_chunks(domain: str, encode: Encode, bos: int, eos: int) -> list[np.ndarray]:
    return [np.array([bos, *ids, eos], dtype=np.int32) for ids in encode(list(real_text.chunks(domain)))]


class _RealStream:
    """All readings of the chunks of one domain, one after another, as one stream of tokens."""

    def __init__(self, chunks: list[np.ndarray], seed: str):
        self._chunks = chunks
        self._seed = seed
        self.size = sum(map(len, self._chunks))
        self.most = real_text.READINGS * self.size
        self._readings: dict[int, np.ndarray] = {}

    def tokens(self, offset: int, length: int) -> list[int]:
        """The tokens `offset` to `offset + length`, over the end of a reading where it falls between."""
        reading, start = divmod(offset, self.size)
        ids = self._reading(reading)[start : start + length].tolist()
        return ids if len(ids) == length else [*ids, *self.tokens((reading + 1) * self.size, length - len(ids))]

    def _reading(self, number: int) -> np.ndarray:
        if number not in self._readings:
            order = random.Random(f"{self._seed}-{number}").sample(range(len(self._chunks)), len(self._chunks))
            self._readings = {number: np.concatenate([self._chunks[place] for place in order])}
        return self._readings[number]
