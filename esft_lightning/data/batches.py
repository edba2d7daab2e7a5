"""From packed rows to one batch of tensors. Knows layouts (padded, padding-free) and positions.

Letters: B rows of the batch, S sequence length, R packed rows in the batch.
"""

import numpy as np
import torch
from torch import Tensor

from esft_lightning.data.packing import PackedRows
from esft_lightning.moe.targets import IGNORED


def collate(
    rows: PackedRows,
    index: np.ndarray,
    *,
    pad_id: int,
    cross_sample_attention: bool = True,
    padding_free: bool = False,
) -> dict[str, Tensor]:
    """Make the batch of the packed rows `index`.

    There is no attention mask: padding stands right of the text, which causal attention never looks at, and a mask
    would switch off the recognition of packed samples by their positions.

    Args:
        rows: All packed rows.
        index: int [R], which of them. Empty: one row of padding without labels, for a rank that the last batch leaves
            with nothing and that must still take part in the step.
        pad_id: Fills what lies behind a row's end.
        cross_sample_attention: False restarts positions at each sample, which keeps attention inside samples.
        padding_free: Put the rows behind one another in a single row, without padding; positions restart at each packed
            row (or sample), so attention does not cross it.

    Returns:
        `input_ids`, `labels` (unshifted, −100 without loss), `token_mask` (real tokens), `sample_ids` (which of this
        batch's packed rows a token belongs to), all [B, S] ([1, sum of lengths] when padding-free); `position_ids` of
        that shape only where positions restart; `row_index` int64 [R].
    """
    if len(index) == 0:
        return _filler(rows, pad_id, cross_sample_attention, padding_free)
    ids, loss, sample = rows.ids[index], rows.loss[index], rows.sample[index]
    real = sample >= 0
    number = np.broadcast_to(np.arange(len(index))[:, None], ids.shape)
    fields = {
        "input_ids": np.where(real, ids, pad_id),
        "labels": np.where(loss, ids, IGNORED),
        "token_mask": real,
        "sample_ids": number,
    }
    if padding_free or not cross_sample_attention:
        fields["position_ids"] = _positions(sample, restart=not cross_sample_attention)
    if padding_free:
        fields = {name: field[real][None] for name, field in fields.items()}
    batch = {
        name: torch.from_numpy(np.ascontiguousarray(field, bool if name == "token_mask" else np.int64))
        for name, field in fields.items()
    }
    batch["row_index"] = torch.from_numpy(np.array(index, np.int64))
    return batch


def _positions(sample: np.ndarray, restart: bool) -> np.ndarray:
    """Positions [R, S] from 0 in each row and, with `restart`, from 0 in each sample; padding counts on."""
    at = np.broadcast_to(np.arange(sample.shape[1]), sample.shape)
    if not restart:
        return at
    begins = np.zeros(sample.shape, bool)
    begins[:, 0] = True
    begins[:, 1:] = (sample[:, 1:] != sample[:, :-1]) & (sample[:, 1:] >= 0)
    return at - np.maximum.accumulate(np.where(begins, at, 0), axis=1)


def _filler(rows: PackedRows, pad_id: int, cross_sample_attention: bool, padding_free: bool) -> dict[str, Tensor]:
    shape = (1, 1 if padding_free else rows.sequence_length)
    batch = {
        "input_ids": torch.full(shape, pad_id),
        "labels": torch.full(shape, IGNORED),
        "token_mask": torch.zeros(shape, dtype=torch.bool),
        "sample_ids": torch.zeros(shape, dtype=torch.int64),
        "row_index": torch.zeros(0, dtype=torch.int64),
    }
    if padding_free or not cross_sample_attention:
        batch["position_ids"] = torch.arange(shape[1])[None]
    return batch
