"""Whether everything that should train has moved: checked at the end of a run, by name.

A weight whose gradients arrive and that stays where it was has lost its updates to rounding, or has a rate of 0: an
error. Where no gradient arrives there are three cases. An expert that no token reached is named in a warning. Of the
parts that a strategy opens as a family built them, the family may not differentiate some (a bias that only chooses
experts, an indexer that only chooses positions): a warning, too. A parameter that a strategy names by itself and that
the loss does not reach is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from esft_lightning.errors import UserError
from esft_lightning.moe import banks, find_moe_layers

_HASHING = ("cpu", "cuda")
_VANISHING = 1e-8  # Adam's epsilon
_FEWEST_STEPS = 2  # LoRA's A gets no gradient before B has moved, and a warm-up may begin with a rate of 0


class NotMovedError(UserError, RuntimeError):
    """Parameters that should train stayed where they were."""


@dataclass
class _Watched:
    """A trained parameter, or one expert's part of it.

    Attributes:
        name: Its name; an expert's part goes by the experts module and the expert's number.
        parameter: The parameter.
        row: Which row of the parameter it is; None for all of it.
        start: What it was before training.
        moved: Whether it has been another since.
        reached: Whether the optimizer has had a gradient for it that is not zero.
        pushed: Whether its gradients are large enough for updates of the order of the learning rate.
    """

    name: str
    parameter: nn.Parameter
    row: int | None
    start: Tensor
    moved: bool = False
    reached: bool = False
    pushed: bool = False

    def part_of(self, tensor: Tensor) -> Tensor:
        return tensor if self.row is None else tensor[self.row]


class Movement:
    """Watches what trains from the start of a run to its end."""

    def __init__(self, model: nn.Module, step: int = 0) -> None:
        """Note where everything is.

        Args:
            model: A model that a strategy was applied to.
            step: Optimizer steps taken so far.
        """
        self._first_step = step
        experts = _expert_rows(model)
        self._watched = [
            _Watched(label, parameter, row, _look(parameter, row))
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
            for row, label in (enumerate(experts[name]) if name in experts else [(None, name)])
        ]

    def look(self, optimizers: Iterable[Optimizer]) -> None:
        """See what has moved, and what has had gradients; to be called while the optimizers' states are there."""
        states = [optimizer.state for optimizer in optimizers]
        for watched in self._watched:
            if watched.moved and watched.reached:
                continue  # nothing more is asked of it
            watched.moved = (
                watched.moved
                or not torch.equal(_look(watched.parameter, watched.row), watched.start)
                or any(_will_move(watched, state) for state in states)
            )
            watched.reached = watched.reached or any(_had_gradient(watched, state) for state in states)
            watched.pushed = watched.pushed or any(_is_pushed(watched, state) for state in states)

    def check(self, step: int, *, rate: float, opens_whole_parts: bool) -> None:
        """End a run: name what has not moved.

        Args:
            step: Optimizer steps taken so far.
            rate: The learning rate that the run was started with.
            opens_whole_parts: As `FineTuningStrategy.opens_whole_parts`.

        Raises:
            NotMovedError: If something that should have moved has not.
        """
        steps = step - self._first_step
        if steps < _FEWEST_STEPS:
            return
        experts = {w.name: False for w in self._watched if w.row is not None}
        experts |= {w.name: True for w in self._watched if w.row is not None and w.reached}
        if idle := [name for name, reached in experts.items() if not reached]:
            rank_zero_warn(
                f"no token reached {len(idle)} trained experts in {steps} steps, and nothing but weight decay has "
                f"changed them: {_some(idle)}"
            )
        if lost := list(dict.fromkeys(w.name for w in self._watched if w.pushed and not w.moved)):
            why = f"a learning rate of {rate:g} is too small for weights of their size and dtype, raise it"
            raise NotMovedError(
                f"{len(lost)} trained parameters or experts did not move in {steps} steps, though they had gradients: "
                f"{_some(lost)}; {why if rate else 'the learning rate is 0'}"
            )
        if still := [w.name for w in self._watched if not (w.pushed or w.moved) and w.row is None]:
            said = f"{len(still)} trained parameters did not move in {steps} steps, since they had no gradient"
            if not opens_whole_parts:
                why = "the loss does not reach them, leave them out of the strategy"
                raise NotMovedError(f"{said}: {_some(still)}; {why}")
            rank_zero_warn(f"{said}, which this model does not compute for them: {_some(still)}")


def _expert_rows(model: nn.Module) -> Mapping[str, Sequence[str]]:
    """Parameter name → the experts whose weights its rows are."""
    rows: dict[str, list[str]] = {}
    trained_experts = {layer: bank.expert_ids for layer, bank in banks(model)}
    for entry in find_moe_layers(model):
        for name, parameter in entry.experts.named_parameters():
            ids = trained_experts.get(entry.layer, ()) if name.startswith("trained_bank.") else range(entry.num_experts)
            if parameter.shape[:1] == (len(ids),):
                rows[f"{entry.name}.{name}"] = [f"{entry.name}[{expert}]" for expert in ids]
    return rows


@torch.no_grad()
def _look(parameter: Tensor, row: int | None) -> Tensor:
    """What a weight is now: a copy of a vector, a hash of a matrix."""
    value = parameter.detach() if row is None else parameter.detach()[row]
    if value.dim() < 2:
        return value.clone()
    # The hash is an exclusive or of all values: a norm's may move alike and cancel out, a matrix's do not.
    return torch.hash_tensor(value if value.device.type in _HASHING else value.cpu()).view(torch.int64)


def _had_gradient(watched: _Watched, state: Mapping[Any, Any]) -> bool:
    """Whether an optimizer's state shows a gradient: some moment is not zero, or there is none that would show it."""
    if not state:  # plain SGD
        return True
    if watched.parameter not in state:
        return False
    moments = list(_moments(watched, state[watched.parameter]))
    return not moments or any(bool(moment.any()) for moment in moments)


def _is_pushed(watched: _Watched, state: Mapping[Any, Any]) -> bool:
    """Whether gradients are above what Adam adds to their size, which makes an update of smaller ones vanish."""
    squares = state[watched.parameter].get("exp_avg_sq") if watched.parameter in state else None
    if squares is None:
        return _had_gradient(watched, state)
    return bool(watched.part_of(squares).max() > _VANISHING**2)


def _will_move(watched: _Watched, state: Mapping[Any, Any]) -> bool:
    """Whether compensated summation holds an update that is still smaller than the weight's dtype can add."""
    held = state[watched.parameter].get("kahan_comp") if watched.parameter in state else None
    return held is not None and held.shape == watched.parameter.shape and bool(watched.part_of(held).any())


def _moments(watched: _Watched, state: Mapping[str, Any]) -> Iterator[Tensor]:
    for value in state.values():
        if isinstance(value, Tensor) and value.shape == watched.parameter.shape:
            yield watched.part_of(value)


def _some(names: Sequence[str]) -> str:
    """The first names, and that there are more."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
