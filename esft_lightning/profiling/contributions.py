"""How much each chosen expert adds to its token: beyond how often it is chosen and with which gate.

`T` kept tokens, `K` experts per token, `R` = T·K rows, `H` hidden, `I` expert intermediate. An expert's *contribution*
to a token is its gate × its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from esft_lightning.moe.discovery import MoELayer, find_moe_layers
from esft_lightning.moe.routing import routing_arguments
from esft_lightning.moe.two_bank import run_rows

MEASURES = ("gate_norm", "activation", "fisher")
"""`gate_norm`: L2 norm of the contribution (gate × ‖output‖). `activation`: gate × mean absolute activation of the
expert's intermediate. `fisher`: square of the derivative of the loss by a factor on the contribution, which is 1: the
empirical Fisher information of that factor; needs a backward pass of the loss inside `record`."""


class ContributionTap:
    """Measures contributions in a model's forward passes; changes nothing that the model computes.

    The chosen experts are run once more for it, a layer at a time. For `fisher` a zero is added to every layer's output
    and its gradient read in backward, so that no weight needs one.
    """

    def __init__(self, model: nn.Module, measures: Sequence[str]) -> None:
        """Find the layers; nothing is hooked until `record`.

        Args:
            model: An MoE model without trained banks.
            measures: Some of `MEASURES`.

        Raises:
            ValueError: An unknown measure.
        """
        if unknown := sorted(set(measures) - set(MEASURES)):
            raise ValueError(f"unknown measures {unknown}; expected some of {', '.join(MEASURES)}")
        self._layers = find_moe_layers(model)
        self._measures = tuple(measures)

    @contextmanager
    def record(self, mask: Tensor) -> Iterator[dict[int, dict[str, Tensor]]]:
        """Measure the one forward pass (and, for `fisher`, its backward) made inside the `with` block.

        Args:
            mask: bool `[B, S]`, True for tokens to keep.

        Yields:
            Layer number → measure → float32 `[T, K]`.
        """
        found: dict[int, dict[str, Tensor]] = {}
        kept = mask.reshape(-1).nonzero().squeeze(1)  # once a pass, and without a wait for a mask in the host's memory
        handles = [
            entry.experts.register_forward_hook(self._listener(entry, kept, found), with_kwargs=True)
            for entry in (self._layers if self._measures else [])
        ]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()

    def _listener(self, entry: MoELayer, kept: Tensor, found: dict[int, dict[str, Tensor]]) -> Any:
        def hook(experts: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor | None:
            hidden = (args[0] if args else kwargs["hidden_states"]).detach()
            index, weights = (given.detach() for given in routing_arguments(args, kwargs))
            hidden = hidden.reshape(-1, hidden.shape[-1])
            values = found.setdefault(entry.layer, {})
            names = [name for name in self._measures if name != "fisher"]
            if names:
                with torch.no_grad():
                    measured = _measure(experts, hidden, index, weights, names, None)
                values.update({name: value[kept.to(value.device)] for name, value in measured.items()})
            if "fisher" not in self._measures:
                return None
            probe = torch.zeros_like(output, requires_grad=True)

            def on_gradient(gradient: Tensor) -> None:
                with torch.no_grad():
                    flat = gradient.reshape(-1, gradient.shape[-1])
                    fisher = _measure(experts, hidden, index, weights, ["fisher"], flat)["fisher"]
                    values["fisher"] = fisher[kept.to(fisher.device)]

            probe.register_hook(on_gradient)
            return output + probe

        return hook


def _measure(
    experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor, names: Sequence[str], gradient: Tensor | None
) -> dict[str, Tensor]:
    """Measures of every row, `[T, K]` each; `gradient` `[T, H]` is the loss's by the layer's output."""
    order_R, intermediate_RI, output_RH = run_rows(experts, hidden, index)
    gate_R = weights.reshape(-1)[order_R].float()
    found = {}
    for name in names:
        if name == "gate_norm":
            sorted_R = gate_R.abs() * output_RH.float().norm(dim=-1)
        elif name == "activation":
            sorted_R = gate_R.abs() * intermediate_RI.float().abs().mean(-1)
        else:
            assert gradient is not None
            along = gradient.float()[order_R // index.shape[-1]]
            sorted_R = (gate_R * (along * output_RH.float()).sum(-1)).square()
        value_R = torch.empty_like(sorted_R)
        value_R[order_R] = sorted_R
        found[name] = value_R.view(index.reshape(-1, index.shape[-1]).shape)
    return found
