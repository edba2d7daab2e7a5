"""What a step needs to know of a batch as plain numbers, found while the batch is still in the host's memory.

On an accelerator, counting labels or asking whether positions restart would make the host wait for everything that the
device still has to do. Here it costs nothing, and the batch goes on its way in pinned memory, so that copying it does
not wait either.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from esft_lightning.moe.targets import labelled_places


def known_on_host(batch: dict[str, Any], *, pin: bool) -> dict[str, Any]:
    """A batch with what `LabelledTokenLoss` would else have to ask the device for.

    Args:
        batch: As `collate` makes it; batches without labels stay as they are.
        pin: Copy its tensors to pinned memory, from which an accelerator fetches them while the host goes on.

    Returns:
        The batch with `labelled_places`, see `targets.labelled_places`, and `restarts`, whether positions do.
    """
    if not isinstance(batch, dict) or not isinstance(batch.get("labels"), Tensor):
        return batch
    positions = batch.get("position_ids")
    known = {
        **batch,
        "labelled_places": labelled_places(batch["labels"], positions),
        "restarts": positions is not None and bool((positions.diff(dim=-1) != 1).any()),
    }
    if not pin:
        return known
    return {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in known.items()}
