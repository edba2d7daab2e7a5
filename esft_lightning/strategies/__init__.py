"""What is trained. One file per idea; a strategy is chosen by its `class_path`, yours too."""

from typing import TYPE_CHECKING

from esft_lightning.first_use import on_first_use

if TYPE_CHECKING:
    from esft_lightning.strategies.base import FineTuningStrategy, NothingToTrainError, trained_parameters
    from esft_lightning.strategies.esft import ESFT, ESFTGate, ESFTToken
    from esft_lightning.strategies.frozen_experts import FrozenExperts
    from esft_lightning.strategies.full import FullFineTuning
    from esft_lightning.strategies.groups import GROUPS, GroupCount, group_parameters, training_table
    from esft_lightning.strategies.lora import LoRA
    from esft_lightning.strategies.random_experts import RandomExperts
    from esft_lightning.strategies.relevant_expert_lora import RelevantExpertLoRA

_HOMES = {
    "FineTuningStrategy": "base",
    "NothingToTrainError": "base",
    "trained_parameters": "base",
    "ESFT": "esft",
    "ESFTGate": "esft",
    "ESFTToken": "esft",
    "FrozenExperts": "frozen_experts",
    "FullFineTuning": "full",
    "GROUPS": "groups",
    "GroupCount": "groups",
    "group_parameters": "groups",
    "training_table": "groups",
    "LoRA": "lora",
    "RandomExperts": "random_experts",
    "RelevantExpertLoRA": "relevant_expert_lora",
}
__all__ = [
    "ESFT",
    "ESFTGate",
    "ESFTToken",
    "FineTuningStrategy",
    "FrozenExperts",
    "FullFineTuning",
    "GROUPS",
    "GroupCount",
    "LoRA",
    "NothingToTrainError",
    "RandomExperts",
    "RelevantExpertLoRA",
    "group_parameters",
    "trained_parameters",
    "training_table",
]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
