"""Which experts of a model belong together: the model reads general text, and experts chosen together are bound.

`T` tokens, `E` routed experts.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from esft_lightning.affinity.grouping import ExpertGrouping, co_occurrence, group_by_co_occurrence
from esft_lightning.errors import FileError, SettingError, one_line
from esft_lightning.moe import RoutingTap, find_decoder, find_moe_layers, input_device
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.identify import identify

log = logging.getLogger(__name__)


@torch.no_grad()
def measure_co_occurrence(model: nn.Module, loader: Any, token_budget: int = 2**17) -> dict[int, np.ndarray]:
    """Let a model read batches, and count which experts its routers choose for the same token.

    Args:
        model: An MoE causal LM, in any mode; left in it.
        loader: Batches as the DataModules make them.
        token_budget: Stop after the batch with which this many tokens have been read.

    Returns:
        Layer number to counts, int64 [E, E]; see `affinity.grouping.co_occurrence`.

    Raises:
        ValueError: If the loader holds no token.
    """
    decoder, tap = find_decoder(model), RoutingTap(model)
    experts = {entry.layer: entry.num_experts for entry in find_moe_layers(model)}
    counts = {layer: np.zeros((count, count), dtype=np.int64) for layer, count in experts.items()}
    device, read = input_device(model), 0
    with evaluating(model):
        for batch in loader:
            batch = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}
            inputs = {key: batch[key] for key in ("input_ids", "position_ids") if key in batch}
            with tap.record(batch["token_mask"]) as routing:
                decoder(**inputs, use_cache=False)
            for layer, chosen in routing.items():
                counts[layer] += co_occurrence(chosen.top_k_index.cpu().numpy(), experts[layer])
            read += int(batch["token_mask"].sum())
            if read >= token_budget:
                break
    if read == 0:
        raise SettingError("the general text holds no token")
    return counts


def find_grouping(
    model: Any,
    tokenizer: Any,
    size: int,
    *,
    source: str | None = None,
    token_budget: int = 2**17,
    sequence_length: int = 512,
    folder: str | Path | None = None,
) -> ExpertGrouping:
    """The groups of a model's experts, from the cache or from a pass over general text.

    Args:
        model: The untouched base model.
        tokenizer: Its tokenizer.
        size: Experts of a group.
        source: General text; see `data.general.general_loader`.
        token_budget: Tokens to read.
        sequence_length: Tokens of a packed row.
        folder: Cache of groupings; None reads and writes none.

    Returns:
        The grouping, the same in every process.

    Raises:
        ValueError: If `size` does not divide the number of experts.
    """
    from esft_lightning.data.general import general_loader

    loader = general_loader(tokenizer, source, sequence_length=sequence_length)
    model_identity = identify(model)
    text = {"text": loader.rows.fingerprint(), "token_budget": token_budget}
    key = model_identity.key(size=size, **text)
    path = None if folder is None else Path(folder) / f"grouping-{key}.json"
    if path is not None and path.is_file():
        try:
            return _checked(ExpertGrouping.load(path), model, path)
        except (FileError, OSError) as error:
            log.warning("the cached grouping is damaged, and is made anew: %s", one_line(error))
    for entry in find_moe_layers(model):
        if size < 1 or entry.num_experts % size:
            raise SettingError(
                f"groups of {size} do not divide the {entry.num_experts} experts of layer {entry.layer}; "
                "set expert_group_size to a divisor"
            )
    if size == 1:  # nothing to find out
        counts = {e.layer: np.zeros((e.num_experts, e.num_experts), np.int64) for e in find_moe_layers(model)}
    else:
        log.info("grouping experts by %d: reading %d tokens of general text", size, token_budget)
        counts = measure_co_occurrence(model, loader, token_budget)
    grouping = ExpertGrouping(size, {layer: group_by_co_occurrence(c, size) for layer, c in counts.items()})
    if path is not None:
        grouping.save(path, made_from={**model_identity.facts(), "size": size, "source": source or "embedded", **text})
    return grouping


def _checked(grouping: ExpertGrouping, model: Any, path: Path) -> ExpertGrouping:
    """A grouping from the cache that holds every expert of every MoE layer of the model.

    Raises:
        FileError: If it does not.
    """
    experts = {entry.layer: entry.num_experts for entry in find_moe_layers(model)}
    if {layer: len(groups) * grouping.size for layer, groups in grouping.groups.items()} != experts:
        raise FileError(f"{path}: the groups do not hold every expert of every layer once")
    return grouping
