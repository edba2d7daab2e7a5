"""Models larger than one device: frozen weights sharded over processes, or layers split over devices and offloaded.

Lightning strategies: `trainer.strategy: sharded_base` and `trainer.strategy: split_layers`.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ShardedBaseStrategy": "sharded_base",
    "SplitLayersStrategy": "split_layers",
    "keeps_model_whole": "whole_models",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
