"""How many bytes training takes: weights, gradients, optimizer state, and what a step needs besides, at its peak.

The order of events is that of `ExpertFineTuner` under Lightning: gradients go as soon as a step is taken, so that the
next forward finds none; while gradients accumulate they stay. AdamW keeps two moments per trained parameter in the
parameter's own precision: master, gradient and moments in fp32 take 16 bytes. Over a bf16 base a step computes with
rounded copies of masters, which are gone when a layer is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedModel

from esft_lightning.budget.layer_kinds import LayerStack
from esft_lightning.budget.step import PartCost, StepCost
from esft_lightning.moe import TrainedBank, base_dtype, experts_dtype, find_moe_layers
from esft_lightning.moe.weight_updates import WeightUpdates, optimizer_bytes


@dataclass(frozen=True)
class UnitMemory:
    """Bytes of one part that is not split further: the embeddings, a decoder layer, or final norm and head.

    Attributes:
        name: Which part.
        weights: Its parameters and buffers, trained banks and LoRA factors included.
        gradients: Gradients of what trains in it.
        optimizer: Optimizer state of what trains in it.
        kept: What the forward leaves behind for backward.
        working: What computing it takes beyond `kept`, at its peak.
    """

    name: str
    weights: int
    gradients: int
    optimizer: int
    kept: int
    working: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of training on one device, at the peak of a step that is not the first.

    Attributes:
        weights: Parameters and buffers, trained banks and LoRA factors included.
        gradients: One per trained parameter.
        optimizer: AdamW's state.
        activations: What the peak holds besides.
        units: The same by part, in the order in which a forward goes through them.
        copy: Of the activations, the largest rounded copy of a trained weight, as forwards over a bf16 base read it.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    units: tuple[UnitMemory, ...]
    copy: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


def estimate_memory(
    model: PreTrainedModel,
    stack: LayerStack,
    step: StepCost,
    *,
    accumulates: bool,
    gradient_checkpointing: bool,
    weight_updates: WeightUpdates = "fp32_masters",
) -> MemoryEstimate:
    """Add up what a step takes.

    Args:
        model: With a strategy applied.
        stack: Its layers.
        step: What its parts cost, with the same strategy.
        accumulates: As `TrainingShape.accumulates`, which the step was measured with.
        gradient_checkpointing: Whether layers keep their inputs alone and run again in backward.
        weight_updates: How small updates reach the weights; the strategy was applied accordingly.

    Returns:
        The estimate.
    """
    layers = [recomputed(cost) for cost in step.layers] if gradient_checkpointing else list(step.layers)
    names, static = _static(model, stack, step.kinds, weight_updates)
    gradients = [row[1] for row in static]
    in_layers = gradients[1:-1]

    kept = 0
    forward = []
    for cost in layers:
        forward.append(step.shared + kept + cost.forward_peak)
        kept += cost.kept
    forward.append(kept + step.outside.forward_peak)

    backward = [kept + step.outside.backward_peak]
    fresh = gradients[-1]
    for cost, own in zip(reversed(layers), reversed(in_layers), strict=True):
        kept -= cost.kept
        backward.append(step.shared + kept + cost.backward_peak + (0 if accumulates else fresh))
        fresh += own

    total = sum(gradients)
    # Without accumulation the peak may be at the optimizer's step, when all gradients are there and nothing else is.
    activations = max(0, max(*forward, *backward) - (0 if accumulates else total))
    costs = [None, *layers, step.outside]
    units = tuple(
        UnitMemory(name, *row, kept=cost.kept if cost else 0, working=_working(cost) if cost else 0)
        for name, row, cost in zip(names, static, costs, strict=True)
    )
    weights, optimizer = sum(row[0] for row in static), sum(row[2] for row in static)
    return MemoryEstimate(weights, total, optimizer, activations, units, _largest_copy(model))


def recomputed(cost: PartCost) -> PartCost:
    """The same layer under gradient checkpointing: the forward runs again before its backward, where there is one."""
    if not cost.in_backward:
        return cost
    # While it runs again, the gradient that backward has come with waits.
    again = cost.forward_peak + cost.input_bytes
    return replace(cost, kept=cost.input_bytes, backward_peak=max(again, cost.backward_peak))


def _working(cost: PartCost) -> int:
    return max(cost.forward_peak, cost.backward_peak) - cost.kept


def _static(
    model: PreTrainedModel, stack: LayerStack, kinds: Sequence[int], updates: WeightUpdates
) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Weights, gradients and optimizer state in bytes: of the embeddings, of every layer, and of the rest."""
    counted: set[int] = set()
    embeddings = _bytes_of(model.get_input_embeddings(), counted, updates)
    of_kind = {number: _bytes_of(stack.layers[number], counted, updates) for number in sorted(set(kinds))}
    rows = [embeddings, *(of_kind[number] for number in kinds), _bytes_of(model, counted, updates)]
    return ["embeddings", *(f"layer {number}" for number in range(len(kinds))), "final norm and head"], rows


def _bytes_of(module: nn.Module, counted: set[int], updates: WeightUpdates) -> tuple[int, int, int]:
    """Weights, gradients and optimizer state of what is in `module` and not counted yet."""
    parameters = [p for p in module.parameters() if id(p) not in counted]
    buffers = [b for b in module.buffers() if id(b) not in counted]
    counted.update(map(id, [*parameters, *buffers]))
    trained = [p for p in parameters if p.requires_grad]
    return _nbytes([*parameters, *buffers]), _nbytes(trained), optimizer_bytes(trained, updates)


def _largest_copy(model: PreTrainedModel) -> int:
    """Bytes of the largest copy in the base's dtype that is made of one trained weight; embeddings look rows up."""
    sizes = [0]
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            dtype = base_dtype(module, name)
            if dtype is not None and not isinstance(module, nn.Embedding):
                sizes.append(weight.numel() * dtype.itemsize)
    for entry in find_moe_layers(model):
        bank, dtype = entry.experts._modules.get("trained_bank"), experts_dtype(entry.experts)
        if isinstance(bank, TrainedBank):
            sizes += [weight.numel() * dtype.itemsize for weight in bank.parameters() if weight.dtype != dtype]
    return max(sizes)


def _nbytes(tensors: Sequence) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
