"""fp32 masters of what trains in a bf16 or fp16 model.

An update smaller than half the distance between two neighboring bf16 numbers, 1/256 of the weight, is rounded away, and
most updates of fine-tuning are. So a parameter that trains is kept in fp32, under its own name: the optimizer, gradient
clipping and checkpoints meet an ordinary fp32 leaf. While a forward of the model runs, reading the parameter gives a
copy in the model's own dtype, so that activations are those of the model as it was loaded, whatever its modules do with
their weights: multiply, look up rows, hand them to a parent's kernel, or ask for their dtype.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esft_lightning.moe.rounded_copies import LOW_PRECISION, rounded_copy

_FORWARDS = "_esft_forwards"  # on the model
_MASTERS = "_esft_masters"  # on each module that owns some


class _Forwards:
    """How many forwards, one inside the other, run now: counted by hooks on every module with a master below it."""

    def __init__(self) -> None:
        self.running = 0
        self.hooks: list[Any] = []

    def enter(self, module: nn.Module, inputs: Any) -> None:
        self.running += 1

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.running -= 1


class _Masters(NamedTuple):
    """What a module knows of its parameters that are masters.

    Attributes:
        forwards: Of the whole model, since modules read each other's weights.
        dtypes: Parameter name → the dtype that the model was loaded in, and that forwards read.
    """

    forwards: _Forwards
    dtypes: dict[str, torch.dtype]


def keep_masters(model: nn.Module) -> None:
    """Give every trained parameter in bf16 or fp16 an fp32 master in its place: 4 bytes instead of 2.

    Tied parameters stay tied, and names stay as they are. Parameters that are fp32 already are left alone.

    Args:
        model: A model in which what trains has `requires_grad`, without masters; changed in place.
    """
    low = {id(p): p.dtype for p in model.parameters() if p.requires_grad and p.dtype in LOW_PRECISION}
    forwards = _Forwards()
    above: set[str] = set()
    for place, module in list(model.named_modules()):
        dtypes = {name: low[id(p)] for name, p in module._parameters.items() if p is not None and id(p) in low}
        if not dtypes:
            continue
        for name in dtypes:
            parameter = module.get_parameter(name)
            parameter.data = parameter.data.float()
        object.__setattr__(module, _MASTERS, _Masters(forwards, dtypes))
        module.__class__ = _reading_class(type(module), tuple(dtypes))
        above.update(place[:end] for end in _ends(place))
    if not above:
        return
    for place in above:
        module = model.get_submodule(place)
        forwards.hooks.append(module.register_forward_pre_hook(forwards.enter))
        # Whatever ends a forward: recomputation stops it by an exception as soon as it has what it needs.
        forwards.hooks.append(module.register_forward_hook(forwards.leave, always_call=True))
    object.__setattr__(model, _FORWARDS, forwards)


def release_masters(model: nn.Module) -> None:
    """Round every master to the dtype that the model was loaded in; without masters, nothing happens."""
    for module in model.modules():
        masters = vars(module).pop(_MASTERS, None)
        if masters is not None:
            module.__class__ = type(module).__bases__[0]
            for name, dtype in masters.dtypes.items():
                parameter = module.get_parameter(name)
                parameter.data = parameter.data.to(dtype)
    forwards: _Forwards | None = vars(model).pop(_FORWARDS, None)
    for hook in () if forwards is None else forwards.hooks:
        hook.remove()


def has_masters(model: nn.Module) -> bool:
    """Whether any module of a model, wrapped or not, owns a master."""
    return any(_MASTERS in vars(module) for module in model.modules())


def trains_in_fp32(model: nn.Module) -> bool:
    """Whether fp32 weights train in a model that was loaded in bf16 or fp16: masters, trained banks, LoRA factors.

    Args:
        model: A model that a strategy was applied to.
    """
    low = has_masters(model) or any(parameter.dtype in LOW_PRECISION for parameter in model.parameters())
    return low and any(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())


def base_dtype(module: nn.Module, name: str) -> torch.dtype | None:
    """The dtype in which forwards read a master: that of the model as it was loaded; None where there is no master.

    Args:
        module: The module that owns the parameter.
        name: The parameter's name in it.
    """
    masters: _Masters | None = vars(module).get(_MASTERS)
    return None if masters is None else masters.dtypes.get(name)


@cache
def _reading_class(owner: type[nn.Module], names: tuple[str, ...]) -> type[nn.Module]:
    """The class of a module whose parameters of these names are read through a rounded copy while a forward runs."""
    members: dict[str, Any] = {name: property(_reader(name)) for name in names}
    if owner.forward is nn.Embedding.forward:
        members["forward"] = _look_up_rows
    # A module goes on by the name that it had: tables, and whoever looks for norms, know it by that.
    members |= {"__module__": owner.__module__, "__qualname__": owner.__qualname__}
    return type(owner.__name__, (owner,), members)


def _reader(name: str) -> Any:
    def read(module: nn.Module) -> Tensor:
        weight = module._parameters.get(name)
        if weight is None:
            return nn.Module.__getattr__(module, name)  # type: ignore[return-value]
        masters: _Masters = module.__dict__[_MASTERS]
        return rounded_copy(weight, masters.dtypes[name]) if masters.forwards.running else weight

    return read


def _look_up_rows(module: nn.Embedding, input: Tensor) -> Tensor:
    """The forward of an embedding: rows of the master, rounded, without a copy of the whole table."""
    weight, dtype = module._parameters["weight"], base_dtype(module, "weight")
    assert weight is not None and dtype is not None
    rows = F.embedding(
        input, weight, module.padding_idx, module.max_norm, module.norm_type, module.scale_grad_by_freq, module.sparse
    )
    return rows.to(dtype)


def _ends(place: str) -> list[int]:
    """Where the names of the modules around a dotted name, and its own, end; 0 for the whole model."""
    return [0, *(end for end, character in enumerate(place) if character == "."), len(place)]
