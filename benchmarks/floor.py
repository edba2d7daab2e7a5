"""The least work that training the selected experts takes, made of two parts that are timed apart.

1. Forward and backward with every weight frozen, on the stock grouped matmuls: activation gradients only.
2. The weight gradients of the selected experts, from rows that lie ready and sorted, and their optimizer update.

No implementation of the same arithmetic with the same kernels gets by with less, except that gradients need not reach
below the first layer that trains; `from_first_trained` is the floor without them.

`R` rows of selected experts in one layer, `N` selected experts, `H` hidden, `I` expert intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.contenders import Contender, adamw
from benchmarks.reference_loop import check_layout
from benchmarks.shapes import Batch, Selection
from benchmarks.timing import clock
from esft_lightning.moe import MoELayer, find_moe_layers
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.routing import routing_arguments


@dataclass
class Rows:
    """What one layer's weight gradients are made of: the selected experts' rows, sorted by expert.

    Attributes:
        x: What the experts read, `[R, H]`.
        d_gate_up: Gradient of what gate and up projections gave, `[R, 2I]`.
        hidden: What the down projections read, `[R, I]`.
        d_out: Gradient of what they gave, `[R, H]`.
        ends: Where each expert's rows end, int32 `[N]`.
    """

    x: Tensor
    d_gate_up: Tensor
    hidden: Tensor
    d_out: Tensor
    ends: Tensor


class Floor(Contender):
    """Frozen forward and backward, then weight gradients and update of the selected experts alone."""

    def __init__(self, label: str = "floor", from_first_trained: bool = False, with_update: bool = True) -> None:
        """Set what it does.

        Args:
            label: What tables call it.
            from_first_trained: Begin activation gradients at the first layer that trains, not at the embeddings.
            with_update: Also the second part; without it this is the frozen model.
        """
        super().__init__(label)
        self.from_first_trained = from_first_trained
        self.with_update = with_update
        self._layers: list[tuple[Rows, nn.Parameter, nn.Parameter]] = []

    def prepare(self, model: PreTrainedModel, selection: Selection, batch: Batch) -> None:
        """Capture the rows of the weight gradients on this batch, and say where activation gradients begin."""
        self.model = model
        self.token_loss = LabelledTokenLoss(model)  # looks at a pass of its own: before anything listens
        layers = find_moe_layers(model)
        if self.with_update and selection:
            self._layers = _capture(self, layers, selection, batch)
        trained = [parameter for _, gate_up, down in self._layers for parameter in (gate_up, down)]
        self.optimizer = adamw(trained) if trained else None
        start: nn.Module = model.get_input_embeddings()
        if self.from_first_trained:
            start = next(entry.experts for entry in layers if entry.layer in selection or not selection)
        start.register_forward_hook(_begin_gradients)

    def step(self, batch: Batch) -> float:
        """Both parts; their seconds are left in `parts`."""
        started = clock(self.device)
        loss = self.loss(batch)
        loss.backward()
        between = clock(self.device)
        for rows, gate_up, down in self._layers:
            gate_up.grad, down.grad = _weight_gradients(rows, gate_up.dtype)
        if self.optimizer is not None:
            self.optimizer.step()
        self.after_update()
        self.parts = {"frozen": between - started, "update": clock(self.device) - between}
        return float(loss.detach())

    @property
    def trained(self) -> list[nn.Parameter]:
        """Copies of the selected experts' weights, which the update moves; the model itself stays as it is."""
        return [parameter for _, gate_up, down in self._layers for parameter in (gate_up, down)]

    def selected_rows(self) -> list[Rows]:
        """Layer by layer, what the weight gradients are made of."""
        return [rows for rows, _, _ in self._layers]

    def checkpoint_bytes(self) -> int:
        """What would be stored: the selected experts in the base's dtype."""
        size = next(self.model.parameters()).element_size()
        return sum(parameter.numel() for parameter in self.trained) * size


def _begin_gradients(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    return output if output.requires_grad else output.requires_grad_()


def _weight_gradients(rows: Rows, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Gradients `[N, 2I, H]` and `[N, H, I]`: the products that the backward of a grouped matmul makes."""
    gate_up = F.grouped_mm(rows.d_gate_up.t(), rows.x, offs=rows.ends)
    down = F.grouped_mm(rows.d_out.t(), rows.hidden, offs=rows.ends)
    return gate_up.to(dtype), down.to(dtype)


def _capture(
    contender: Contender, layers: list[MoELayer], selection: Selection, batch: Batch
) -> list[tuple[Rows, nn.Parameter, nn.Parameter]]:
    """One frozen pass, listened to: each layer's rows, and copies of the selected weights in fp32, as the banks are."""
    calls: dict[int, dict[str, Any]] = {}

    def listen(layer: int) -> Any:
        def after(module: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
            index, weights = routing_arguments(args, kwargs)
            hidden = args[0] if args else kwargs["hidden_states"]
            seen = {"hidden": hidden.detach(), "index": index.detach(), "weights": weights.detach()}
            calls[layer] = seen
            output.register_hook(lambda gradient: seen.__setitem__("d_output", gradient))

        return after

    handles = [contender.model.get_input_embeddings().register_forward_hook(_begin_gradients)]
    chosen = [entry for entry in layers if selection.get(entry.layer)]
    handles += [entry.experts.register_forward_hook(listen(entry.layer), with_kwargs=True) for entry in chosen]
    try:
        contender.loss(batch).backward()
    finally:
        for handle in handles:
            handle.remove()
    made = []
    for entry in chosen:
        check_layout(entry.experts)
        ids = sorted(selection[entry.layer])
        weights = [
            nn.Parameter(entry.experts.get_parameter(name).detach()[ids].float())
            for name in ("gate_up_proj", "down_proj")
        ]
        made.append((_rows_of(entry.experts, ids, calls[entry.layer]), *weights))
    return made


def _rows_of(experts: Any, ids: list[int], call: dict[str, Any]) -> Rows:
    """The rows of some experts in one call, expert by expert, in plain autograd."""
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    ends = []
    total = 0
    for expert in ids:
        token, place = (call["index"] == expert).nonzero(as_tuple=True)
        x = call["hidden"][token]
        d_out = call["d_output"][token] * call["weights"][token, place].unsqueeze(-1).to(x.dtype)
        with torch.enable_grad():
            gate_up = F.linear(x, experts.gate_up_proj[expert]).requires_grad_()
            hidden = experts._apply_gate(gate_up)
            out = F.linear(hidden, experts.down_proj[expert])
            (d_gate_up,) = torch.autograd.grad(out, gate_up, d_out)
        parts.append((x, d_gate_up, hidden.detach(), d_out))
        total += len(token)
        ends.append(total)
    x, d_gate_up, hidden, d_out = (torch.cat(column).contiguous() for column in zip(*parts, strict=True))
    return Rows(x, d_gate_up, hidden, d_out, torch.tensor(ends, dtype=torch.int32, device=x.device))
