"""Settings as plain data, and objects made of them again: what checkpoints and loggers know of a run.

Plain data is what `torch.load(weights_only=True)` takes: numbers, text, None, and lists, tuples and mappings of these.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from esft_lightning.affinity.selection import ExpertSelection
from esft_lightning.errors import UserError
from esft_lightning.strategies import FineTuningStrategy


def plain(value: Any) -> Any:
    """A setting as plain data; what is none by itself (a function, an object) becomes its name.

    Args:
        value: Any setting.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(entry) for entry in value)
    if isinstance(value, list | set | frozenset):
        return [plain(entry) for entry in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    named = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def strategy_settings(strategy: FineTuningStrategy) -> dict[str, Any]:
    """A strategy's public attributes. A selection is not among them: checkpoints hold the one at work by itself."""
    return {
        name: plain(value)
        for name, value in vars(strategy).items()
        if not name.startswith("_") and not isinstance(value, ExpertSelection) and name != "expert_config"
    }


def constructor_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a module was constructed with.

    Args:
        given: `locals()` at the top of its `__init__`.

    Returns:
        Every argument as plain data; a strategy as its class and its settings.
    """
    settings = {name: value for name, value in given.items() if name not in ("self", "__class__")}
    strategy = settings.pop("strategy")
    described = {"class_path": plain(type(strategy)), "init_args": strategy_settings(strategy)}
    return {"strategy": described, **{name: plain(value) for name, value in settings.items()}}


def rebuilt_strategy(described: Mapping[str, Any]) -> FineTuningStrategy:
    """The strategy that `constructor_settings` described.

    Args:
        described: `class_path` and `init_args`.

    Returns:
        A strategy with exactly these settings.

    Raises:
        UserError: If its class is not this library's and has not been imported (a file must not make code run), or if
            its settings cannot be given to its constructor again.
    """
    path, settings = str(described["class_path"]), described["init_args"]
    room, _, name = path.rpartition(".")
    module = import_module(room) if room.startswith("esft_lightning.") else sys.modules.get(room)
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, FineTuningStrategy)):
        raise UserError(f"the checkpoint's strategy is {path}; import {room} first, or give strategy=…")
    names, inherited = _parameters(kind)
    arguments = {name: settings[name] for name in names if name in settings}
    try:
        strategy = kind(**arguments)
        changed = {name: value for name, value in settings.items() if strategy_settings(strategy).get(name) != value}
        if changed:
            strategy = kind(**arguments, **{name: value for name, value in changed.items() if name in inherited})
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be made again from the checkpoint ({error}); give strategy=…") from error
    if strategy_settings(strategy) != dict(settings):
        raise UserError(f"{path} does not keep its arguments under their names; give load_from_checkpoint strategy=…")
    return strategy


def _parameters(kind: type) -> tuple[set[str], set[str]]:
    """Names that a class's constructor takes itself, and those that it hands on to its parents' by `**options`."""
    own: set[str] = set()
    inherited: set[str] = set()
    for depth, parent in enumerate(owner for owner in kind.__mro__ if "__init__" in vars(owner)):
        parameters = inspect.signature(parent.__init__).parameters.values()
        (inherited if depth else own).update(entry.name for entry in parameters if entry.kind != entry.VAR_KEYWORD)
        if not any(entry.kind == entry.VAR_KEYWORD for entry in parameters):
            break
    return own - {"self"}, inherited - own - {"self"}
