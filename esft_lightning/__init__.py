"""Fine-tune sparse Mixture-of-Experts language models by training only the experts that matter.

Public names are loaded on first use, so that `import esft_lightning` and the light verbs start no heavy library.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ExpertFineTuner": "module",
    "load_model": "moe",
    "load_tokenizer": "moe",
    "find_moe_layers": "moe",
    "model_fingerprint": "moe",
    "Routing": "moe",
    "RoutingTap": "moe",
    "AffinityProfile": "affinity",
    "ExpertAffinity": "affinity",
    "ExpertSelection": "affinity",
    "read_routing_log": "affinity",
    "select_random": "affinity",
    "select_top_k": "affinity",
    "select_top_p": "affinity",
    "ESFT": "strategies",
    "ESFTGate": "strategies",
    "ESFTToken": "strategies",
    "FineTuningStrategy": "strategies",
    "FrozenExperts": "strategies",
    "FullFineTuning": "strategies",
    "LoRA": "strategies",
    "RandomExperts": "strategies",
    "RelevantExpertLoRA": "strategies",
    "trained_parameters": "strategies",
    "training_table": "strategies",
    "AdapterCheckpoint": "callbacks",
    "BudgetReport": "callbacks",
    "ExpertAffinityProfiler": "callbacks",
    "RoutingMonitor": "callbacks",
    "TerminationCheckpoint": "callbacks",
    "CodeDataModule": "data",
    "IntentDataModule": "data",
    "LawDataModule": "data",
    "MathDataModule": "data",
    "SummaryDataModule": "data",
    "TaskDataModule": "data",
    "TranslationDataModule": "data",
    "TaskScore": "metrics",
    "general_ability": "evaluation",
    "generate": "evaluation",
    "AdapterSet": "adapter_set",
    "load_adapter": "adapters",
    "remove_adapter": "adapters",
    "save_adapter": "adapters",
    "export_adapter": "formats",
    "import_adapter": "formats",
    "merge_adapter": "formats",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
