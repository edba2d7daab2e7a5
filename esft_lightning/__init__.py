"""Fine-tune sparse Mixture-of-Experts language models by training only the experts that matter.

Public names are loaded on first use, so that `import esft_lightning` and the light verbs start no heavy library.
"""

from esft_lightning.first_use import on_first_use

__version__ = "0.1.0"

_HOMES = {
    "ExpertFineTuner": "training",
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
    "AdapterCheckpoint": "training.callbacks",
    "BudgetReport": "training.callbacks",
    "ExpertAffinityProfiler": "training.callbacks",
    "RoutingMonitor": "training.callbacks",
    "TerminationCheckpoint": "training.callbacks",
    "CodeDataModule": "tasks",
    "IntentDataModule": "tasks",
    "LawDataModule": "tasks",
    "MathDataModule": "tasks",
    "SummaryDataModule": "tasks",
    "TaskDataModule": "data",
    "TranslationDataModule": "tasks",
    "TaskScore": "tasks",
    "general_ability": "evaluation",
    "generate": "evaluation",
    "AdapterSet": "adapters",
    "load_adapter": "adapters",
    "remove_adapter": "adapters",
    "save_adapter": "adapters",
    "export_adapter": "adapters.formats",
    "import_adapter": "adapters.formats",
    "merge_adapter": "adapters.formats",
}
__all__ = ["__version__", *_HOMES]


__getattr__, __dir__ = on_first_use(__name__, _HOMES)
