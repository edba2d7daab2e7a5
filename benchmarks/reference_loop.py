"""Routed experts as a `ModuleList`, one loop over them per layer, those that are not selected frozen.

This is how the original implementation of ESFT works on DeepSeek's own modelling code. It is written here as simply as
it can be, and is also what the other contenders' losses and gradients are compared with.

`T` tokens, `K` experts per token, `H` hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.shapes import Selection
from esft_lightning.moe import find_moe_layers


class Expert(nn.Module):
    """One gated MLP: `down(act(gate(x)) * up(x))`."""

    def __init__(self, gate: Tensor, up: Tensor, down: Tensor, act: nn.Module, trained: bool) -> None:
        """Take one expert's rows of the fused tensors: a copy where it trains, else the rows themselves."""
        super().__init__()
        copy = torch.clone if trained else torch.Tensor.detach
        self.gate_proj = nn.Parameter(copy(gate.detach()), requires_grad=trained)
        self.up_proj = nn.Parameter(copy(up.detach()), requires_grad=trained)
        self.down_proj = nn.Parameter(copy(down.detach()), requires_grad=trained)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """`[rows, H]` to `[rows, H]`."""
        hidden = self.act(nn.functional.linear(x, self.gate_proj)) * nn.functional.linear(x, self.up_proj)
        return nn.functional.linear(hidden, self.down_proj)


class ExpertLoop(nn.Module):
    """The experts of one layer, in the place of the fused module."""

    def __init__(self, fused: nn.Module, trained: list[int]) -> None:
        """Split the fused tensors.

        Args:
            fused: A gated experts module without biases, `[out, in]` per expert.
            trained: Experts that train.

        Raises:
            ValueError: If the module is of another layout.
        """
        super().__init__()
        check_layout(fused)
        gate_up, down = fused.get_parameter("gate_up_proj"), fused.get_parameter("down_proj")
        self.experts = nn.ModuleList(
            Expert(*gate_up[expert].chunk(2), down[expert], fused.act_fn, expert in trained)  # type: ignore[arg-type]
            for expert in range(down.shape[0])
        )

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """`[T, H]` to `[T, H]`: every expert in turn computes its tokens' rows."""
        top_k = top_k_index.shape[-1]
        rows, chosen = hidden_states.repeat_interleave(top_k, dim=0), top_k_index.reshape(-1)
        out = torch.empty_like(rows)
        for number, expert in enumerate(self.experts):
            out[chosen == number] = expert(rows[chosen == number])
        weighted = out.view(*top_k_index.shape, -1) * top_k_weights.unsqueeze(-1)
        return weighted.sum(dim=1).to(hidden_states.dtype)


def check_layout(fused: nn.Module) -> None:
    """Refuse experts that the hand-written contenders do not compute.

    Raises:
        ValueError: If they are transposed, interleaved, biased or without a gate.
    """
    if fused.is_transposed or fused.has_bias or not fused.has_gate or not fused.is_concatenated:
        raise ValueError(
            "the benchmark's own expert code takes gated experts [out, in] without biases, gate above up; "
            f"{type(fused).__name__} is of another layout: measure another model"
        )


def install_loops(model: PreTrainedModel, selection: Selection) -> dict[int, ExpertLoop]:
    """Put loops in the place of every layer's fused experts.

    Args:
        model: A frozen model; changed in place.
        selection: Experts to train, by layer.

    Returns:
        The loops by layer number.
    """
    loops = {}
    for entry in find_moe_layers(model):
        loops[entry.layer] = ExpertLoop(entry.experts, list(selection.get(entry.layer, [])))
        setattr(model.get_submodule(entry.block_name), entry.name.rpartition(".")[2], loops[entry.layer])
    return loops
