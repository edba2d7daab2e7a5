"""Tell Transformers whether a batch's positions restart, where the host knows it already.

Transformers looks at the positions in every forward without an attention mask, which makes the host wait for the device
before the first layer: no step can be prepared while the one before is still computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from transformers import masking_utils

_ASKED = "find_packed_sequence_indices"


@contextmanager
def known_packing(restarts: bool | None) -> Iterator[None]:
    """Answer for Transformers in the forwards inside.

    Args:
        restarts: Whether the positions of some row restart; None lets Transformers look.
    """
    ask = getattr(masking_utils, _ASKED, None)
    if restarts is None or ask is None:
        yield
        return

    def answer(position_ids: Tensor) -> Tensor | None:
        """Its own function's result, without its look at the values."""
        if not restarts:
            return None
        return (position_ids.diff(prepend=position_ids[:, :1] - 1, dim=-1) != 1).cumsum(-1)

    setattr(masking_utils, _ASKED, answer)
    try:
        yield
    finally:
        setattr(masking_utils, _ASKED, ask)
