"""The budget of strategies on one model: each is applied to the model without weights, counted, and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from esft_lightning.budget.candidates import Candidate
from esft_lightning.budget.layer_kinds import LayerStack
from esft_lightning.budget.memory import MemoryEstimate, estimate_memory
from esft_lightning.budget.parameters import ParameterBudget, count_parameters, unfused_lora
from esft_lightning.budget.step import StepCost, StepMeter, TrainingShape
from esft_lightning.moe import banks, release_masters, remove_banks
from esft_lightning.moe.weight_updates import WeightUpdates
from esft_lightning.strategies.lora import detach_lora


@dataclass(frozen=True)
class Work:
    """Floating-point operations per token of a batch; a multiply-add counts as two.

    Attributes:
        forward: Of the forward.
        backward: Of backward, for what is trained: activation gradients down to the first trained layer, and weight
            gradients of what trains.
        recomputation: What gradient checkpointing adds.
    """

    forward: float
    backward: float
    recomputation: float


@dataclass(frozen=True)
class StrategyBudget:
    """What one strategy costs.

    Attributes:
        label: How tables name it.
        parameters: What trains.
        memory: Bytes of training; None where only parameters were counted.
        memory_checkpointed: The same with gradient checkpointing.
        work: Operations per token; None where only parameters were counted.
    """

    label: str
    parameters: ParameterBudget
    memory: MemoryEstimate | None = None
    memory_checkpointed: MemoryEstimate | None = None
    work: Work | None = None


def reckon(
    model: PreTrainedModel,
    rows: Iterable[Candidate],
    shape: TrainingShape | None,
    progress: Callable[[str], None] = lambda label: None,
    weight_updates: WeightUpdates = "fp32_masters",
) -> list[StrategyBudget]:
    """Reckon what strategies cost.

    Args:
        model: On the meta device; frozen and unadapted before and after.
        rows: The strategies.
        shape: The training step; None counts parameters only.
        progress: Called with each label before its turn.
        weight_updates: How small updates reach what trains over a bf16 base.

    Returns:
        The budgets, in order; LoRA is followed by the paper's unfused arithmetic.

    Raises:
        StepNotCountedError: If a step of this model cannot be run without values.
    """
    stack = LayerStack(model)
    meter = None if shape is None else StepMeter(model, stack, shape)
    found = []
    for row in rows:
        progress(row.label)
        kinds = stack.kinds(_told_apart(row))
        with stack.only(kinds), _applied(model, row, kinds, masters=weight_updates == "fp32_masters"):
            parameters = count_parameters(model, stack.repetitions(kinds))
            step = None if meter is None else meter.measure(kinds)
            found.append(_budget(row.label, model, stack, parameters, step, shape, weight_updates))
        if row.unfused_rank is not None:
            unfused = unfused_lora(model, row.unfused_rank, parameters)
            found.append(StrategyBudget(f"{row.label}, unfused (paper)", unfused))
    return found


def _told_apart(row: Candidate) -> dict[int, tuple[int, float]]:
    """What a strategy does to some layers and not to others: how many experts it trains, and their rows."""
    experts = {} if row.selection is None else row.selection.experts
    return {layer: (len(ids), row.row_shares.get(layer, 0.0)) for layer, ids in experts.items() if ids}


@contextmanager
def _applied(model: PreTrainedModel, row: Candidate, kinds: Sequence[int], *, masters: bool) -> Iterator[None]:
    """Apply a strategy to a model that has one layer of each kind, and take it off again."""
    selection = row.selection
    if selection is not None:
        selection = replace(selection, experts={n: ids for n, ids in selection.experts.items() if n in kinds})
    try:
        with torch.device("meta"), no_init_weights():
            row.strategy.apply(model, selection, masters=masters)
        for layer, bank in banks(model):
            bank.assumed_trained_share = row.row_shares[layer]
        yield
    finally:
        release_masters(model)
        remove_banks(model)
        detach_lora(model)
        model.requires_grad_(False)


def _budget(
    label: str,
    model: PreTrainedModel,
    stack: LayerStack,
    parameters: ParameterBudget,
    step: StepCost | None,
    shape: TrainingShape | None,
    updates: WeightUpdates,
) -> StrategyBudget:
    if step is None or shape is None:
        return StrategyBudget(label, parameters)
    parts: Sequence = [*step.layers, step.outside]
    plain, checkpointed = (
        estimate_memory(
            model, stack, step, accumulates=shape.accumulates, gradient_checkpointing=on, weight_updates=updates
        )
        for on in (False, True)
    )
    work = Work(
        sum(part.forward_flops for part in parts) / shape.tokens,
        sum(part.backward_flops for part in parts) / shape.tokens,
        sum(layer.forward_flops for layer in step.layers if layer.in_backward) / shape.tokens,
    )
    return StrategyBudget(label, parameters, plain, checkpointed, work)
