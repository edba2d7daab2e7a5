"""What a causal language model has to predict, and where: from labels, and from where positions restart.

`B` batch, `S` sequence, `N` labelled positions.
"""

from __future__ import annotations

from torch import Tensor

IGNORED = -100  # Transformers' label for "no loss here"


def shifted_targets(labels: Tensor, position_ids: Tensor | None = None) -> Tensor:
    """What each position but the last has to predict.

    Args:
        labels: Unshifted labels, int64 `[B, S]`.
        position_ids: Positions `[B, S]`, where they restart inside a row: the first token of a sample or row is then
            never a target, since what stands before it belongs to something else.

    Returns:
        int64 `[B, S-1]`, −100 where there is nothing to predict.
    """
    targets = labels[:, 1:]
    if position_ids is not None:
        targets = targets.masked_fill(position_ids[:, 1:] == 0, IGNORED)
    return targets


def labelled_places(labels: Tensor, position_ids: Tensor | None = None) -> Tensor:
    """The positions that have something to predict, int64 `[N]`, counted through the rows `[B·S]`.

    Args:
        labels: Unshifted labels, int64 `[B, S]`.
        position_ids: As in `shifted_targets`.
    """
    row_N, place_N = (shifted_targets(labels, position_ids) != IGNORED).nonzero(as_tuple=True)
    return row_N * labels.shape[1] + place_N
