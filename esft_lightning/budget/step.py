"""One training step on the meta device, a layer of each kind at a time: what each allocates, keeps and multiplies.

Layers that are built alike, train alike and see the same inputs cost the same, so one of them is run. What stands
outside of the layers (embeddings, final norm, head and loss) is run with layers that hand on what they are given.

Shape letters: `B` batch, `S` sequence, `H` hidden, `V` vocabulary, `N` labelled positions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache, PreTrainedModel

from esft_lightning.budget.layer_kinds import LayerStack, layer_signature
from esft_lightning.budget.meter import FusedAttention, Kernels, Meter, no_autocast_on_meta
from esft_lightning.budget.outcomes import Outcomes
from esft_lightning.errors import SettingError, UserError
from esft_lightning.moe import copies_not_kept, find_decoder, trains_in_fp32
from esft_lightning.moe.loss import loss_of_rows, watch_head


class StepNotCountedError(UserError, NotImplementedError):
    """A model's step cannot be run without weights; its parameters can be counted all the same."""


@dataclass(frozen=True)
class TrainingShape:
    """The step whose cost is asked for.

    Attributes:
        batch_size: B, sequences of one micro-batch.
        sequence_length: S, tokens of a sequence; every one of them is taken to be labelled.
        accumulates: Whether gradients of several micro-batches add up before a step: they are then there during all of
            backward, instead of coming into being.
        kernels: The device type whose attention kernels are taken.
    """

    batch_size: int = 1
    sequence_length: int = 4096
    accumulates: bool = True
    kernels: Kernels = "cuda"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.sequence_length < 2:
            raise SettingError(
                f"batch size {self.batch_size} × sequence length {self.sequence_length} is no training batch; expected "
                "at least one sequence of two tokens"
            )

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch, B·S."""
        return self.batch_size * self.sequence_length


@dataclass(frozen=True)
class PartCost:
    """Cost of one layer, or of what stands outside of the layers. Bytes beyond weights, above what was there before.

    Attributes:
        kept: Bytes that the forward leaves behind for backward.
        forward_peak: Most bytes while the forward runs, inputs and outputs included.
        backward_peak: Most bytes while backward runs, what was kept included; fresh gradients, too, unless they
            accumulate.
        input_bytes: Bytes of the hidden states that go in: all that is kept where the layer is recomputed.
        forward_flops: Floating-point operations of the forward.
        backward_flops: Floating-point operations of backward, for what needs a gradient here; no recomputation.
    """

    kept: int
    forward_peak: int
    backward_peak: int
    input_bytes: int
    forward_flops: int
    backward_flops: int

    @property
    def in_backward(self) -> bool:
        """Whether backward comes through here."""
        return self.backward_peak > 0


@dataclass(frozen=True)
class StepCost:
    """Cost of a step's parts.

    Attributes:
        layers: One entry per decoder layer, in order.
        outside: Embeddings, final norm, head and loss.
        shared: Bytes of what all layers are given besides the hidden states: positions' rotations, masks.
        kinds: For each layer the number of the one that was measured for it.
    """

    layers: tuple[PartCost, ...]
    outside: PartCost
    shared: int
    kinds: tuple[int, ...]


class StepMeter:
    """Measures steps of one model under changing strategies; what was measured before is not run again."""

    def __init__(self, model: PreTrainedModel, stack: LayerStack, shape: TrainingShape) -> None:
        """Start without measurements.

        Args:
            model: On the meta device.
            stack: Its layers.
            shape: The step's shape; it holds for every measurement.
        """
        self.shape = shape
        self._model: Any = model
        self._stack = stack
        self._decoder = find_decoder(model)
        self._plain_head: bool | None = None
        self._outcomes = Outcomes()
        self._layers_found: dict[Any, PartCost] = {}
        self._outside_found: dict[Any, tuple[PartCost, list[_Call]]] = {}

    def measure(self, kinds: Sequence[int] | None = None) -> StepCost:
        """Measure a step of the model as it trains now, with the strategy that was applied to it.

        Args:
            kinds: For each layer the number of the one that stands for it; None lets each stand for itself.

        Returns:
            The cost of its parts.

        Raises:
            StepNotCountedError: If the model computes something that needs values, which meta tensors do not have, or
                its layers hand on more than hidden states.
        """
        layers = self._stack.layers
        kinds = range(len(layers)) if kinds is None else kinds
        self._model.train()
        try:
            with FusedAttention(self.shape.kernels), no_autocast_on_meta(), torch.device("meta"):
                outside, calls = self._outside(kinds)
                signatures = {number: layer_signature(layers[number]) for number in set(kinds)}
                trains = {number: _trains(layers[number]) for number in set(kinds)}
                costs = []
                needs_gradient = calls[0].needs_gradient
                for number, call in zip(kinds, calls, strict=True):
                    costs.append(self._layer(layers[number], signatures[number], call, needs_gradient))
                    needs_gradient = needs_gradient or trains[number]
        except (RuntimeError, ValueError) as error:
            raise StepNotCountedError(
                f"{type(self._model).__name__}: a step cannot be run without weights, a layer at a time "
                f"({type(error).__name__}: {str(error).strip()}); only parameters can be counted: --parameters-only"
            ) from error
        given = {leaf.untyped_storage()._cdata: leaf.untyped_storage().nbytes() for c in calls for leaf in c.tensors()}
        return StepCost(tuple(costs), outside, sum(given.values()), tuple(kinds))

    def _outside(self, kinds: Sequence[int]) -> tuple[PartCost, list[_Call]]:
        """What stands outside of the layers, and how these are called."""
        inside = [self._stack.layers[number] for number in set(kinds)]
        weights = {id(parameter) for layer in inside for parameter in layer.parameters()}
        named = self._model.named_parameters()
        trains = tuple(name for name, value in named if value.requires_grad and id(value) not in weights)
        key = trains, any(map(_trains, inside))
        if key not in self._outside_found:
            with self._stack.only(range(len(self._stack.layers))):
                self._outside_found[key] = self._run_outside(key[1])
        return self._outside_found[key]

    def _run_outside(self, layers_train: bool) -> tuple[PartCost, list[_Call]]:
        model, layers = self._model, self._stack.layers
        batch, length = self.shape.batch_size, self.shape.sequence_length
        if self._plain_head is None:
            with _handing_on(layers, [], layers_train):
                self._plain_head = _has_plain_head(model, self._decoder)
        meter = Meter([*model.parameters(), *model.buffers()], self._outcomes)
        calls: list[_Call] = []
        with _handing_on(layers, calls, layers_train), meter:
            inputs = _inputs(model, batch, length)

            def run() -> Tensor:
                if self._plain_head:
                    rows, logits_of = self._decoder(**inputs).last_hidden_state, model.get_output_embeddings()
                else:
                    rows, logits_of = model(**inputs).logits, _as_they_are
                rows = rows[:, :-1].flatten(0, 1)  # a copy, as picking the labelled positions is
                targets = torch.empty(rows.shape[0], dtype=torch.long)
                return loss_of_rows(rows, targets, logits_of, model.get_output_embeddings().weight.shape[0]).total

            cost = _cost(meter, run, model, self.shape.accumulates)
        return cost, calls

    def _layer(self, layer: nn.Module, signature: Hashable, call: _Call, needs_gradient: bool) -> PartCost:
        key = signature, call.signature(), needs_gradient
        if key in self._layers_found:
            return self._layers_found[key]
        sizes = (self.shape.batch_size, self.shape.sequence_length, call.hidden_size)
        meter = Meter([*layer.parameters(), *layer.buffers(), *call.tensors()], self._outcomes)
        with meter:

            def run() -> Tensor:
                hidden = _arrive(sizes, call.dtype, needs_gradient)
                return _hidden_of(layer(hidden, *call.args, **call.kwargs))

            input_bytes = torch.Size(sizes).numel() * call.dtype.itemsize
            self._layers_found[key] = _cost(meter, run, layer, self.shape.accumulates, input_bytes)
        return self._layers_found[key]


def _cost(
    meter: Meter, run: Callable[[], Tensor], module: nn.Module, accumulates: bool, input_bytes: int = 0
) -> PartCost:
    """Run forward and backward of `run` inside the meter; `module` owns what trains in it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if accumulates:
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
    start = meter.live
    meter.restart()
    with copies_not_kept(trains_in_fp32(module)):
        out = run()
    forward_peak, forward_flops = meter.peak - start, meter.flops
    sizes, dtype = out.shape, out.dtype
    edge = get_gradient_edge(out) if out.requires_grad else None
    del out
    kept = meter.live - start
    backward_peak = backward_flops = 0
    if edge is not None:
        meter.restart()
        torch.autograd.backward(edge, torch.empty(sizes, dtype=dtype))
        backward_peak, backward_flops = meter.peak - start, meter.flops
    for parameter in trained:
        parameter.grad = None
    return PartCost(kept, forward_peak, backward_peak, input_bytes, forward_flops, backward_flops)


@dataclass
class _Call:
    """What a decoder layer was called with besides the hidden states, and what these were."""

    args: tuple
    kwargs: dict[str, Any]
    needs_gradient: bool
    hidden_size: int
    dtype: torch.dtype

    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    def signature(self) -> Any:
        """Equal for calls that cost the same."""
        leaves = tree_leaves((self.args, self.kwargs))
        described = [(tuple(x.shape), x.dtype) if isinstance(x, Tensor) else repr(x) for x in leaves]
        return tuple(described)


def _trains(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


@contextmanager
def _handing_on(layers: Sequence[nn.Module], calls: list[_Call], layers_train: bool) -> Iterator[None]:
    """Let layers hand on the hidden states, needing a gradient if any of them trains, and note their calls."""

    def stand_in(layer: nn.Module) -> Callable[..., Any]:
        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if "past_key_values" in kwargs:
                kwargs["past_key_values"] = None
            calls.append(_Call(args, kwargs, hidden.requires_grad, hidden.shape[-1], hidden.dtype))
            if layers_train and not hidden.requires_grad:
                return _arrive(tuple(hidden.shape), hidden.dtype, True)
            return hidden.view_as(hidden)

        return forward

    for layer in layers:
        layer.forward = stand_in(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _inputs(model: Any, batch: int, length: int) -> dict[str, Any]:
    """Arguments of the decoder. An empty cache spares its look for packed samples, which reads values."""
    ids = torch.empty(batch, length, dtype=torch.long)
    return {"input_ids": ids, "use_cache": False, "past_key_values": DynamicCache()}


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


def _has_plain_head(model: Any, decoder: nn.Module) -> bool:
    """Whether the head gets the decoder's very output, and its own output is the logits, as `loss.py` looks for it."""
    seen = watch_head(model, decoder, **_inputs(model, 1, 4))
    if seen is None:
        return False
    same_storage = seen.rows.untyped_storage()._cdata == seen.hidden.untyped_storage()._cdata
    return same_storage and seen.logits is seen.head_output


class _Arrive(torch.autograd.Function):
    """Hidden states that come from elsewhere and need a gradient, which is thrown away: nothing is kept for it."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, sizes: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(sizes, dtype=dtype, device=start.device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return gradient.new_empty(()), None, None


def _arrive(sizes: tuple[int, ...], dtype: torch.dtype, needs_gradient: bool) -> Tensor:
    if not needs_gradient:
        return torch.empty(sizes, dtype=dtype)
    return _Arrive.apply(torch.empty((), requires_grad=True), sizes, dtype)  # type: ignore[return-value]


def _hidden_of(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
