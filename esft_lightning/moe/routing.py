"""Reading which experts each token was sent to.

`T` tokens = batch x sequence, `K` experts per token. The tap listens to the one call that every MoE family makes,
`experts(hidden_states, top_k_index, top_k_weights)`, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esft_lightning.moe.discovery import find_decoder, find_moe_layers


@dataclass(frozen=True)
class Routing:
    """The routing of one MoE layer.

    Attributes:
        top_k_index: Experts chosen for each kept token, int64 `[T, K]`.
        top_k_weights: Their gates as applied (scaling included), `[T, K]`.
    """

    top_k_index: Tensor
    top_k_weights: Tensor


class RoutingTap:
    """Records routing of a model's forward passes.

    Only passes of the decoder itself count: when gradient checkpointing runs a layer again inside backward, the decoder
    is not running, so nothing is counted twice. Padding is masked.

    Example:
        >>> tap = RoutingTap(model)
        >>> with tap.record(token_mask) as routing:
        ...     model(input_ids)
        >>> routing[1].top_k_index  # layer 1: [T, K]
    """

    def __init__(self, model: nn.Module) -> None:
        """Find the layers; nothing is hooked until `record`."""
        self._layers = find_moe_layers(model)
        self._decoder = find_decoder(model)

    @contextmanager
    def record(self, mask: Tensor | None = None) -> Iterator[dict[int, Routing]]:
        """Record the forward passes made inside the `with` block.

        Args:
            mask: bool `[B, S]` (or `[T]`), True for tokens to keep; where it lies in the host's memory, no device is
                waited for. By default, where the model is given a
                two-dimensional `attention_mask`, its last S columns.

        Yields:
            A dictionary, layer number to `Routing`; several passes (as in generation) are appended in order.

        Raises:
            ValueError: If the mask does not have one entry per token of the pass.
        """
        routing: dict[int, Routing] = {}
        state: dict[str, Any] = {"running": False, "mask": mask, "kept": None}

        def open_pass(module: nn.Module, args: tuple, kwargs: dict) -> None:
            state["running"], state["kept"] = True, None
            if mask is None:
                given = kwargs.get("attention_mask")
                state["mask"] = given if isinstance(given, Tensor) and given.dim() == 2 else None

        def close_pass(module: nn.Module, args: tuple, output: Any) -> None:
            state["running"] = False

        def listen(layer: int):
            def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
                if not state["running"]:
                    return
                index, weights = (
                    value.detach().reshape(-1, value.shape[-1]) for value in routing_arguments(args, kwargs)
                )
                if state["mask"] is not None:
                    if state["kept"] is None:  # once a pass: the host waits for a mask's device to count them
                        kept = _positions(state["mask"], index.shape[0])
                        state["kept"] = kept.to(index.device, non_blocking=True)
                    kept = state["kept"].to(index.device)
                    index, weights = index[kept], weights[kept]
                new = Routing(index, weights)
                old = routing.get(layer)
                if old is not None:
                    new = Routing(
                        torch.cat([old.top_k_index, new.top_k_index]), torch.cat([old.top_k_weights, new.top_k_weights])
                    )
                routing[layer] = new

            return hook

        handles = [
            self._decoder.register_forward_pre_hook(open_pass, with_kwargs=True),
            self._decoder.register_forward_hook(close_pass, always_call=True),
            *(entry.experts.register_forward_pre_hook(listen(entry.layer), with_kwargs=True) for entry in self._layers),
        ]
        try:
            yield routing
        finally:
            for handle in handles:
                handle.remove()


def routing_arguments(args: tuple, kwargs: dict) -> tuple[Tensor, Tensor]:
    """The experts call's `(top_k_index, top_k_weights)`, given by position or by name."""
    given = list(args[1:3])
    for name in ("top_k_index", "top_k_weights")[len(given) :]:
        given.append(kwargs[name])
    return given[0], given[1]


def _positions(mask: Tensor, tokens: int) -> Tensor:
    """Which tokens of a pass the mask keeps, in order."""
    if mask.dim() == 2 and mask.numel() != tokens:
        mask = mask[
            :, -(tokens // mask.shape[0]) :
        ]  # generation with a cache: the mask also covers what was read before
    if mask.numel() != tokens:
        raise ValueError(f"the token mask has {mask.numel()} entries, the pass has {tokens} tokens")
    return mask.reshape(-1).nonzero().squeeze(1)
