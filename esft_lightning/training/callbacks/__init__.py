"""What happens around training: profiling, adapters, pictures, tables, an orderly end. Callbacks know the module."""

from esft_lightning.first_use import on_first_use

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
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
