"""How a router makes its gates, told by what it does on a few tokens: families do not say it in one way, or at all.

Shapes: `T` tokens, `K` experts per token, `E` routed experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from esft_lightning.moe.discovery import MoELayer, find_decoder, find_moe_layers
from esft_lightning.moe.evaluating import evaluating
from esft_lightning.moe.placement import input_device
from esft_lightning.moe.routing import Routing, RoutingTap

Function = Literal["softmax", "sigmoid", "sqrtsoftplus", "identity"]
FUNCTIONS: dict[Function, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: scores.float().softmax(-1),
    "sigmoid": lambda scores: scores.float().sigmoid(),
    "sqrtsoftplus": lambda scores: torch.nn.functional.softplus(scores.float()).sqrt(),
    "identity": lambda scores: scores.float(),
}
_PROBE_TOKENS = 32


@dataclass(frozen=True)
class RouterTraits:
    """How one layer's gates come from what its router returns.

    Attributes:
        router: Dotted name of the router module; empty where none returns one score per expert.
        function: Router output to probabilities: `softmax`, `sigmoid`, `sqrtsoftplus`, or `identity` where they are
            returned as such; None where the gates follow from none of them.
        renormalized: Whether the gates of every token sum to one constant.
        scale: What the gates, or where they are renormalised their shares, are multiplied by; None where it is unknown.
        plain_top_k: Whether the chosen experts are those of the highest probability: no correction bias, no limit to
            groups of experts.
    """

    router: str
    function: Function | None
    renormalized: bool
    scale: float | None
    plain_top_k: bool

    def __str__(self) -> str:
        """Such as `sigmoid, renormalised, × 2.5`."""
        told = [{"identity": "own probabilities", None: "own function"}.get(self.function, str(self.function))]
        told += ["renormalised"] if self.renormalized else []
        told += [f"× {self.scale:g}"] if self.scale not in (None, 1.0) else []
        return ", ".join(told)


def router_traits(model: nn.Module) -> dict[int, RouterTraits]:
    """Let the model read a few tokens, and compare what each layer's router returned with the gates that were applied.

    Args:
        model: An MoE model with its weights, left as it is.

    Returns:
        Layer number to traits.
    """
    layers = find_moe_layers(model)
    returned: dict[str, Any] = {}
    candidates: dict[int, list[str]] = {}
    handles = []
    for entry in layers:
        block = model.get_submodule(entry.block_name)
        names = [f"{entry.block_name}.{name}" for name, _ in block.named_children()]
        candidates[entry.layer] = [name for name in names if name != entry.name]
        for name in candidates[entry.layer]:
            handles.append(
                model.get_submodule(name).register_forward_hook(
                    lambda module, args, output, name=name: returned.update({name: output})
                )
            )
    vocabulary = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    ids = torch.linspace(0, vocabulary - 1, _PROBE_TOKENS, device=input_device(model)).long()[None]
    try:
        with evaluating(model), torch.no_grad(), RoutingTap(model).record() as routing:
            find_decoder(model)(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {entry.layer: _traits_of(entry, candidates[entry.layer], returned, routing[entry.layer]) for entry in layers}


def router_scores(output: Any, num_experts: int) -> Tensor | None:
    """The first tensor with one floating-point value per expert in what a router returned, as `[T, E]`.

    Args:
        output: A tensor, or a tuple with tensors.
        num_experts: E.
    """
    found = output if isinstance(output, tuple | list) else (output,)
    for value in found:
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape[-1:] == (num_experts,):
            return value.reshape(-1, num_experts)
    return None


def _traits_of(entry: MoELayer, candidates: list[str], returned: dict[str, Any], routing: Routing) -> RouterTraits:
    """The traits of one layer from a probe's outputs; a plain top-k before any other reading of them."""
    index, weights = routing.top_k_index, routing.top_k_weights.float()
    possible, seen = [], ""
    for name in candidates:
        scores = router_scores(returned.get(name), entry.num_experts)
        if scores is None or len(scores) != _PROBE_TOKENS:
            continue
        seen = seen or name
        for function, probabilities_of in FUNCTIONS.items():
            probabilities = probabilities_of(scores)
            chosen = probabilities.gather(1, index)
            if (chosen <= 0).any():
                continue
            best = probabilities.topk(index.shape[1], dim=-1).values
            # By value, not by id: scores in bfloat16 are often equal.
            plain = torch.equal(best.sort(-1).values, chosen.sort(-1).values)
            for renormalized in (False, True):
                gates = chosen / chosen.sum(-1, keepdim=True) if renormalized else chosen
                if (scale := _constant(weights / gates)) is not None:
                    possible.append(RouterTraits(name, function, renormalized, scale, plain))
    if possible:
        return next((traits for traits in possible if traits.plain_top_k), possible[0])
    total = _constant(weights.sum(-1))
    return RouterTraits(seen, None, total is not None, total, plain_top_k=False)


def _constant(values: Tensor) -> float | None:
    """The positive number that all values are, but for rounding; None where they differ."""
    middle = float(values.median())
    if not middle > 0 or bool(((values - middle).abs() > 2e-2 * middle).any()):
        return None
    rounded = round(middle, 3)
    return rounded if rounded and abs(rounded - middle) <= 2e-3 * middle else middle
