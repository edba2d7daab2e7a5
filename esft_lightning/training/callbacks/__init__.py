"""What happens around training: profiling, adapters, pictures, tables, an orderly end. Callbacks know the module."""

from importlib import import_module
from typing import Any

_HOMES = {
    "ExpertAffinityProfiler": "affinity_profiler",
    "AdapterCheckpoint": "adapter_checkpoint",
    "BudgetReport": "budget_report",
    "RoutingMonitor": "routing_monitor",
    "LastAndBestCheckpoint": "last_and_best",
    "TerminationCheckpoint": "termination_checkpoint",
    "ValidationScore": "validation_score",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
