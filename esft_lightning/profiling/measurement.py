"""The profiling pass: a model reads rows as batches, and which experts its routers choose is added up.

`B` batch, `S` sequence, `T` kept tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from esft_lightning.affinity.grouping import ExpertGrouping
from esft_lightning.affinity.metric import ExpertAffinity
from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.data.host_side import known_on_host
from esft_lightning.errors import SettingError
from esft_lightning.moe import RoutingTap, find_decoder, find_moe_layers, input_device
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.moe.known_packing import known_packing
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.router_traits import router_traits
from esft_lightning.profiling.contributions import ContributionTap

_IGNORED = -100


@torch.no_grad()
def measure_affinity(
    model: nn.Module,
    loader: Any,
    *,
    token_budget: int = 2**17,
    counting: Literal["all", "response"] = "all",
    metadata: dict[str, Any] | None = None,
    measured: Sequence[str] = (),
    progress: bool = False,
    sum_over_ranks: Callable[[Tensor], Tensor] | None = None,
    before_batch: Callable[[], None] | None = None,
) -> AffinityProfile:
    """Let a model read batches, and add up which experts its routers choose.

    Whole global batches are counted until the budget is reached, so that the rows counted do not depend on the number
    of processes.

    Args:
        model: An MoE causal LM, in any mode; left in it.
        loader: Batches as the DataModules make them; of the same length on every rank.
        token_budget: Tokens to count, over all ranks.
        counting: All real tokens, or response (labelled) tokens only.
        metadata: Kept in the profile.
        measured: Scores of `MEASURED` to measure besides; `fisher` takes a backward pass of the loss.
        progress: Show a progress bar.
        sum_over_ranks: In a distributed run, the sum of a number over the ranks.
        before_batch: Called before each batch; what it raises ends the pass.

    Returns:
        The profile, reduced over ranks.

    Raises:
        SettingError: If the loader holds no token to count.
    """
    layers = find_moe_layers(model)
    decoder, tap = find_decoder(model), RoutingTap(model)
    contributions = ContributionTap(model, measured)
    loss = LabelledTokenLoss(model) if "fisher" in measured else None
    device = input_device(model)
    metric: ExpertAffinity | None = None
    counted = 0
    bar = tqdm(total=token_budget, desc="Profiling", unit="tok", unit_scale=True, disable=not progress)
    with evaluating(model), bar:
        for batch in loader:
            if before_batch is not None:
                before_batch()
            # Counted where the batch was made, in the host's memory: the device is not waited for before the end.
            batch: dict[str, Any] = known_on_host(batch, pin=device.type == "cuda")
            mask = batch["token_mask"] if counting == "all" else batch["labels"] != _IGNORED
            sample_ids, tokens = batch["sample_ids"][mask], mask.sum()
            batch = {
                key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                for key, value in batch.items()
            }
            inputs = {key: batch[key] for key in ("input_ids", "position_ids") if key in batch}
            with tap.record(mask) as routing, contributions.record(mask) as values:
                if loss is None:
                    with known_packing(batch.get("restarts")):
                        decoder(**inputs, use_cache=False)
                else:
                    with torch.enable_grad():
                        loss(batch).total.backward()
            if metric is None:
                top_k = routing[layers[0].layer].top_k_index.shape[1]
                metric = ExpertAffinity(
                    [entry.layer for entry in layers], layers[0].num_experts, top_k, measured=measured
                ).to(device)
            metric.update(routing, sample_ids, values)
            if sum_over_ranks is not None:
                tokens = sum_over_ranks(tokens.to(device))
            counted += int(tokens)
            bar.update(int(tokens))
            if counted >= token_budget:
                break
    if metric is None or counted == 0:
        raise SettingError(f"the profiling data holds no {'real' if counting == 'all' else 'labelled'} token")
    return metric.profile(**(metadata or {}))


def model_facts(model: Any) -> dict[str, Any]:
    """What a profile keeps of the model besides its identity: the gates of its router, and its groups of experts."""
    return {**_router_traits(model), **_groups(model)}


def _router_traits(model: Any) -> dict[str, Any]:
    """What makes raw scores of one family differ from another's, as a few tokens show it; unknown values left out."""
    found = set(router_traits(model).values())
    functions = sorted({traits.function or "other" for traits in found})
    scales = {traits.scale for traits in found}
    return {
        "gate_function": " and ".join(functions),
        "renormalized": all(traits.renormalized for traits in found),
        **({"scaling_factor": scales.pop()} if len(scales) == 1 and None not in scales else {}),
    }


def _groups(model: Any) -> dict[str, Any]:
    """The groups of experts that the model routes to, if it does, so that whole groups are selected."""
    state = grouped_routing(model)
    if state is None:
        return {}
    size = len(next(iter(state.groups.values()))[0])
    return {"expert_groups": ExpertGrouping(size, state.groups).to_dict()}
