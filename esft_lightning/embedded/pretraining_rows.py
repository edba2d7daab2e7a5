"""Rows for a pretraining loop, made by processes beside it: the same rows whatever their number.

Knows the tokenizer and torch's loader; what a step reads is decided in
:mod:`esft_lightning.embedded.packed_rows`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from esft_lightning.embedded.packed_rows import PackedRows, StepPlan
from esft_lightning.embedded.pretraining_settings import Pretraining

__all__ = ["encoder", "run_rows", "step_loader"]

_STEPS_AHEAD = 8  # of each worker


class _Encoder:
    """Texts → token ids without special tokens; a class, so that a worker that is not forked can get it, too."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.name = hashlib.blake2b(tokenizer.backend_tokenizer.to_str().encode(), digest_size=8).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Encoder) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __call__(self, texts: list[str]) -> list[list[int]]:
        backend = self.tokenizer.backend_tokenizer
        return [item.ids for item in backend.encode_batch_fast(texts, add_special_tokens=False)]


def encoder(tokenizer: Any) -> Callable[[list[str]], Sequence[Sequence[int]]]:
    """Texts → token ids without special tokens."""
    return _Encoder(tokenizer)


def run_rows(tokenizer: Any, settings: Pretraining) -> PackedRows:
    """The rows that a run with these settings reads."""
    return PackedRows(
        encoder(tokenizer),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        seed=settings.seed,
        batch_tokens=settings.batch_tokens,
        opening=settings.opening,
        stage_from=settings.trunk,
    )


class _Steps(Dataset[Tensor]):
    def __init__(self, rows: PackedRows, plan: list[StepPlan]):
        self._rows, self._plan = rows, plan

    def __getitem__(self, step: int) -> Tensor:
        return torch.from_numpy(self._rows.step(step, self._plan[step]))


def step_loader(rows: PackedRows, steps: int, first: int, workers: int, *, pin: bool = False) -> Iterator[Tensor]:
    """Token ids [B, S] of the steps `first` to `steps` of a run.

    Args:
        rows: The run's rows.
        steps: Length of the run.
        first: The first step that is wanted.
        workers: Processes that make rows; 0 makes them here.
        pin: Hand them out in pinned memory, from which a CUDA device fetches them without a wait.
    """
    data = _Steps(rows, list(rows.plan(steps)))
    yield from DataLoader(
        data,
        batch_size=None,
        sampler=range(first, steps),
        num_workers=workers,
        prefetch_factor=_STEPS_AHEAD if workers else None,
        pin_memory=pin,
    )
