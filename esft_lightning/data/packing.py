"""From samples to packed rows of one length. Knows ids; knows nothing of text, batches or ranks.

Letters: N samples, R packed rows, S sequence length.

The rule is the authors': greedy in file order; a sample that overflows the row keeps its TAIL, as much as still fits,
and closes the row; with probability `random_concat_ratio` a sample that is not the first of its row drops its BOS. Two
of their accidents are not copied: a sample already cut has no BOS left to drop, so nothing more is cut from it; and the
first token of a sample never has a label (they train on predicting BOS from the sample before).
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from esft_lightning.data.tokenization import TokenizedSamples

OnOverflow = Literal["tail", "next_row"]


@dataclass(frozen=True)
class PackedRows:
    """R rows of S positions.

    Attributes:
        ids: int32 [R, S]; what lies behind a row's length means nothing.
        loss: bool [R, S], True where the token has a label.
        sample: int32 [R, S], number of the sample (its place in the input), −1 behind the row's length.
        lengths: int64 [R], real tokens of each row.
        cut_samples: Samples that lost their head to the row's end.
        dropped_bos: Samples that dropped their BOS.
    """

    ids: np.ndarray
    loss: np.ndarray
    sample: np.ndarray
    lengths: np.ndarray
    cut_samples: int = 0
    dropped_bos: int = 0

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def sequence_length(self) -> int:
        """S."""
        return self.ids.shape[1]

    @property
    def tokens(self) -> int:
        """Real tokens in all rows."""
        return int(self.lengths.sum())

    @property
    def labelled_tokens(self) -> int:
        """Tokens with a label in all rows."""
        return int(self.loss.sum())

    def fingerprint(self) -> str:
        """Hash of what a model can see of these rows: ids, labels, samples' borders."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(f"{self.ids.shape}".encode())
        real = self.sample >= 0
        for part in (np.where(real, self.ids, -1), self.loss, self.sample, self.lengths):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def pack(
    samples: TokenizedSamples,
    sequence_length: int,
    *,
    bos_id: int | None = None,
    random_concat_ratio: float = 0.0,
    seed: int = 0,
    on_overflow: OnOverflow = "tail",
) -> PackedRows:
    """Pack samples into rows, in order.

    Args:
        samples: What `tokenize_rows` gives.
        sequence_length: S.
        bos_id: The BOS id; None where the tokenizer has none.
        random_concat_ratio: Probability that a sample behind another drops its BOS.
        seed: Decides which drop it.
        on_overflow: `tail`: a sample that overflows its row keeps its tail (the paper's way). `next_row`: it moves to a
            new row, whole; only samples longer than S are cut.

    Returns:
        The rows; the last one may be short, and with `next_row` any.
    """
    draws = np.random.default_rng([seed, 1]).random(len(samples))
    spans: list[list[tuple[int, int, int]]] = [[]]  # per row: (sample, first token, end) in the flat arrays
    room = sequence_length
    cut = dropped = 0
    starts = samples.offsets.tolist()
    for number in range(len(samples)):
        first, end = starts[number], starts[number + 1]
        if room < sequence_length and draws[number] < random_concat_ratio and samples.ids[first] == bos_id:
            shorter = first + 1
        else:
            shorter = first
        if on_overflow == "next_row" and room < sequence_length and end - shorter > room:
            spans.append([])
            room, shorter = sequence_length, first
        if end - shorter > room:
            cut += 1
            first = end - room
        else:
            dropped += shorter - first
            first = shorter
        if first < end:
            spans[-1].append((number, first, end))
            room -= end - first
        if room == 0:
            spans.append([])
            room = sequence_length
    if not spans[-1]:
        spans.pop()
    return _materialize(samples, spans, sequence_length, cut, dropped)


def _materialize(
    samples: TokenizedSamples, spans: list[list[tuple[int, int, int]]], sequence_length: int, cut: int, dropped: int
) -> PackedRows:
    shape = (len(spans), sequence_length)
    ids, loss = np.zeros(shape, np.int32), np.zeros(shape, bool)
    sample, lengths = np.full(shape, -1, np.int32), np.zeros(len(spans), np.int64)
    for row, parts in enumerate(spans):
        at = 0
        for number, first, end in parts:
            to = at + end - first
            ids[row, at:to] = samples.ids[first:end]
            loss[row, at:to] = samples.loss[first:end]
            loss[row, at] = False  # only another sample stands before it
            sample[row, at:to] = number
            at = to
        lengths[row] = at
    return PackedRows(ids, loss, sample, lengths, cut, dropped)


def concatenate(parts: list[PackedRows]) -> PackedRows:
    """Rows of several packings behind one another (samples renumbered so that each keeps its own)."""
    shifted, start = [], 0
    for part in parts:
        shifted.append(np.where(part.sample >= 0, part.sample + start, -1).astype(np.int32))
        start += int(part.sample.max(initial=-1)) + 1
    return PackedRows(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.loss for part in parts]),
        np.concatenate(shifted),
        np.concatenate([part.lengths for part in parts]),
        sum(part.cut_samples for part in parts),
        sum(part.dropped_bos for part in parts),
    )
