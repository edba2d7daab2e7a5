"""One training step on the meta device, a layer of each kind at a time: what each allocates, keeps and multiplies.

Layers that are built alike, train alike and see the same inputs cost the same, so one of them is run. What stands
outside of the layers (embeddings, final norm, head and loss) is run with layers that hand on what they are given.

Shape letters: `B` batch, `S` sequence, `H` hidden, `V` vocabulary, `N` labelled positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache, PreTrainedModel

from esft_lightning.budget.meter import FusedAttention, Kernels, Meter, no_autocast_on_meta
from esft_lightning.loss import loss_of_rows
from esft_lightning.moe import find_decoder, find_moe_layers


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
            raise ValueError(
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
    """

    layers: tuple[PartCost, ...]
    outside: PartCost
    shared: int


class StepMeter:
    """Measures steps of one model under changing strategies; layers that were measured before are not run again."""

    def __init__(self, model: PreTrainedModel, shape: TrainingShape) -> None:
        """Start without measurements.

        Args:
            model: On the meta device.
            shape: The step's shape; it holds for every measurement.
        """
        self.shape = shape
        self._model: Any = model
        self._decoder = find_decoder(model)
        self._layers = decoder_layers(model)
        self._plain_head: bool | None = None
        self._found: dict[Any, PartCost] = {}
        self._described: dict[nn.Module, Any] = {}
        self._found_outside: dict[Any, tuple[PartCost, list[_Call]]] = {}

    def measure(self) -> StepCost:
        """Measure a step of the model as it trains now, with the strategy that was applied to it.

        Returns:
            The cost of its parts.

        Raises:
            NotImplementedError: If the model computes something that needs values, which meta tensors do not have.
        """
        model, layers = self._model.train(), self._layers
        try:
            with FusedAttention(self.shape.kernels), no_autocast_on_meta(), torch.device("meta"):
                trains = tuple(_trains(layer) for layer in layers), self._trained_outside()
                if trains not in self._found_outside:
                    self._found_outside[trains] = self._outside()
                outside, seen = self._found_outside[trains]
                hidden_size, dtype = seen[0].hidden_size, seen[0].dtype
                costs = []
                for layer, call in zip(layers, seen, strict=True):
                    key = (self._signature(layer), call.signature())
                    if key not in self._found:
                        self._found[key] = self._layer(layer, call, hidden_size, dtype)
                    costs.append(self._found[key])
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
            raise NotImplementedError(
                f"{type(model).__name__} computes something that depends on values, which a model without weights does "
                f"not have ({error}); only its parameters can be counted: --parameters-only"
            ) from error
        given = {
            leaf.untyped_storage()._cdata: leaf.untyped_storage().nbytes() for call in seen for leaf in call.tensors()
        }
        return StepCost(tuple(costs), outside, sum(given.values()))

    def _trained_outside(self) -> tuple[str, ...]:
        """Names of what trains outside of the layers."""
        inside = {id(parameter) for layer in self._layers for parameter in layer.parameters()}
        named = self._model.named_parameters()
        return tuple(name for name, value in named if value.requires_grad and id(value) not in inside)

    def _signature(self, layer: nn.Module) -> Any:
        """Equal for layers that are built alike and train alike, wherever they stand."""
        for module in layer.modules():
            if module not in self._described:
                self._described[module] = (type(module).__name__, *filter(_setting, vars(module).items()))
        parameters = tuple(
            (name, tuple(value.shape), value.dtype, value.requires_grad) for name, value in layer.named_parameters()
        )
        return tuple((name, self._described[module]) for name, module in layer.named_modules()), parameters

    def _outside(self) -> tuple[PartCost, list[_Call]]:
        model, layers = self._model, self._layers
        batch, length = self.shape.batch_size, self.shape.sequence_length
        if self._plain_head is None:
            with _handing_on(layers, []):
                self._plain_head = _has_plain_head(model, self._decoder)
        meter = Meter([*model.parameters(), *model.buffers()])
        seen: list[_Call] = []
        with _handing_on(layers, seen), meter:
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
        return cost, seen

    def _layer(self, layer: nn.Module, call: _Call, hidden_size: int, dtype: torch.dtype) -> PartCost:
        sizes = (self.shape.batch_size, self.shape.sequence_length, hidden_size)
        meter = Meter([*layer.parameters(), *layer.buffers(), *call.tensors()])
        with meter:

            def run() -> Tensor:
                hidden = _arrive(sizes, dtype, call.needs_gradient)
                return _hidden_of(layer(hidden, *call.args, **call.kwargs))

            return _cost(meter, run, layer, self.shape.accumulates, torch.Size(sizes).numel() * dtype.itemsize)


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """The decoder's layers, in order."""
    first = find_moe_layers(model)[0]
    return list(model.get_submodule(first.name.split(f".{first.layer}.")[0]).children())


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
        return tuple(described), self.needs_gradient


def _setting(item: tuple[str, Any]) -> bool:
    """Whether a module's attribute is a plain setting that may tell layers apart; its place in the model does not."""
    return item[0] not in ("layer_idx", "layer_index") and isinstance(item[1], bool | int | float | str | None)


def _trains(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


@contextmanager
def _handing_on(layers: list[nn.Module], seen: list[_Call]) -> Iterator[None]:
    """Let layers hand on the hidden states, needing a gradient where a real one would, and note their calls."""

    def stand_in(layer: nn.Module) -> Callable[..., Any]:
        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if "past_key_values" in kwargs:
                kwargs["past_key_values"] = None
            seen.append(_Call(args, kwargs, hidden.requires_grad, hidden.shape[-1], hidden.dtype))
            if not hidden.requires_grad and _trains(layer):
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
    return {"input_ids": ids, "use_cache": False, "past_key_values": DynamicCache(config=model.config)}


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


def _has_plain_head(model: Any, decoder: nn.Module) -> bool:
    """Whether the head gets the decoder's very output, and its own output is the logits, as `loss.py` looks for it."""
    head = model.get_output_embeddings()
    seen: dict[str, Tensor] = {}

    def after_decoder(module: nn.Module, args: tuple, output: Any) -> None:
        seen["hidden"] = output.last_hidden_state

    def after_head(module: nn.Module, args: tuple, output: Tensor) -> None:
        seen["rows"], seen["logits"] = args[0], output

    handles = [decoder.register_forward_hook(after_decoder), head.register_forward_hook(after_head)]
    try:
        with torch.no_grad():
            logits = model(**_inputs(model, 1, 4)).logits
    finally:
        for handle in handles:
            handle.remove()
    if not {"hidden", "rows", "logits"} <= set(seen):
        return False
    same_storage = seen["rows"].untyped_storage()._cdata == seen["hidden"].untyped_storage()._cdata
    return same_storage and logits is seen["logits"]


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
