"""Is there enough to read? How much of what pretraining reads is new, domain by domain.

``python -m esft_lightning.embedded.novelty --tokens 20M``

reads what a run of that length reads, to the token, and prints for every domain how many of its texts are distinct, and
how many 8-grams of the last quarter of its tokens stand nowhere before. It ends with exit code 1 where a generated
domain misses :data:`DISTINCT` or :data:`NEW`, or too few tokens stand in rows as long as the tasks' longest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from esft_lightning.command_parser import CommandParser
from esft_lightning.embedded import TINY, real_text
from esft_lightning.embedded.corpus import WEIGHTS
from esft_lightning.embedded.packed_rows import PackedRows
from esft_lightning.embedded.pretrain import tokens as tokens_of
from esft_lightning.embedded.pretraining_rows import run_rows
from esft_lightning.embedded.pretraining_settings import Pretraining

__all__ = ["Novelty", "measure", "new_share"]

DISTINCT, NEW, LONG = 0.95, 0.25, 0.30
"""At least: distinct texts and new 8-grams of every generated domain, and tokens in rows of `LONGEST` or more."""
LONGEST = 384
"""Tokens of the longest rows of the tasks."""
GRAM = 8
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Novelty:
    """What one domain gave to read.

    Attributes:
        tokens: Tokens read, special ones included.
        texts: Hashes of its whole texts, in the order read.
        grams: Hashes of the 8-grams within its texts, in the order read, one array a row.
        long_rows: Tokens in rows of `LONGEST` tokens or more.
        long_texts: Tokens in texts of that length.
    """

    tokens: int = 0
    texts: list[int] = field(default_factory=list)
    grams: list[np.ndarray] = field(default_factory=list)
    long_rows: int = 0
    long_texts: int = 0

    def add(self, ids: np.ndarray, bos: int, eos: int) -> None:
        """Count one row."""
        self.tokens += len(ids)
        self.long_rows += len(ids) if len(ids) >= LONGEST else 0
        hashes = gram_hashes(ids)
        special = np.concatenate([[0], np.cumsum((ids == bos) | (ids == eos))])
        self.grams.append(hashes[special[GRAM:] == special[: len(hashes)]])
        starts = np.flatnonzero(ids == bos)
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            self.long_texts += int(end - start) if end - start >= LONGEST else 0
            if ids[end - 1] == eos:
                self.texts.append(hash(ids[start:end].tobytes()))

    @property
    def distinct(self) -> float:
        """Share of the texts that are first readings."""
        return len(set(self.texts)) / max(1, len(self.texts))

    @property
    def new(self) -> float:
        """Share of the last quarter's 8-grams that stand nowhere before them."""
        return new_share(np.concatenate(self.grams)) if self.grams else 0.0


def gram_hashes(ids: np.ndarray) -> np.ndarray:
    """A hash of every `GRAM` tokens in a row, [len - GRAM + 1] uint64."""
    values = ids.astype(np.uint64) + np.uint64(1)
    length = max(0, len(values) - GRAM + 1)
    hashes = np.zeros(length, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place in range(GRAM):
            hashes = (hashes ^ values[place : place + length]) * _PRIME
            hashes ^= hashes >> np.uint64(29)
    return hashes


def new_share(grams: np.ndarray) -> float:
    """Share of the entries of the last quarter that are the first of their kind, the quarter itself included."""
    _, first = np.unique(grams, return_index=True)
    quarter = len(grams) - len(grams) // 4
    return int((first >= quarter).sum()) / max(1, len(grams) - quarter)


def measure(rows: PackedRows, steps: int) -> dict[str, Novelty]:
    """Read a run's rows and count, domain by domain."""
    measured = {domain: Novelty() for domain in WEIGHTS}
    for number, plan in enumerate(rows.plan(steps)):
        for row, ids in zip(plan.rows, rows.step(number, plan), strict=True):
            measured[row.domain].add(ids, rows.bos, rows.eos)
    return measured


def _lines(measured: dict[str, Novelty], readings: dict[str, float]) -> list[str]:
    total = sum(entry.tokens for entry in measured.values())
    lines = [
        "| domain | tokens | share | texts | distinct texts | new 8-grams, last quarter | readings |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for domain, entry in measured.items():
        read = f"{readings[domain]:.2f}" if domain in readings else ""
        lines.append(
            f"| {domain} | {entry.tokens:,} | {entry.tokens / total:.1%} | {len(entry.texts):,} | "
            f"{entry.distinct:.1%} | {entry.new:.1%} | {read} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table.

    Returns:
        0, or 1 where a bound is missed.
    """
    parser = CommandParser(
        prog="python -m esft_lightning.embedded.novelty", description="How much of what pretraining reads is new."
    )
    parser.add_argument("--tokens", type=tokens_of, default=20_000_000, help="length of the run (default: 20M)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the run")
    parser.add_argument("--opening", type=int, default=Pretraining.opening, help="steps of echoes, at first")
    parser.add_argument("--tokenizer", type=Path, default=TINY, help="folder of the tokenizer")
    options = parser.parse_args(arguments)
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    settings = Pretraining(
        steps=max(2, options.tokens // Pretraining.batch_tokens),
        seed=options.seed,
        opening=options.opening,
        tokenizer=str(options.tokenizer),
    )
    rows = run_rows(tokenizer, settings)
    measured = measure(rows, settings.steps)
    readings = {domain: measured[domain].tokens / rows.real_tokens(domain) for domain in real_text.REAL}
    total = sum(entry.tokens for entry in measured.values())
    long_rows = sum(entry.long_rows for entry in measured.values()) / total
    long_texts = sum(entry.long_texts for entry in measured.values()) / total
    print("\n".join(_lines(measured, readings)))
    print(f"\n{long_rows:.1%} of tokens stand in rows, {long_texts:.1%} in single texts, of {LONGEST} tokens and more.")
    missed = [
        f"{domain}: {entry.distinct:.1%} distinct texts, {entry.new:.1%} new 8-grams"
        for domain, entry in measured.items()
        if domain not in real_text.REAL and (entry.distinct < DISTINCT or entry.new < NEW)
    ]
    missed += [f"{domain}: read {count:.1f} times" for domain, count in readings.items() if count > real_text.READINGS]
    missed += [f"rows: {long_rows:.1%} in long ones"] if long_rows < LONG else []
    print("\n".join(["Missed:", *missed]) if missed else "All bounds are met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
