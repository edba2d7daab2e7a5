"""What is trained. One file per idea; a strategy is chosen by its `class_path`, yours too."""

from esft_lightning.strategies.base import FineTuningStrategy, NothingToTrainError, trained_parameters
from esft_lightning.strategies.esft import ESFT, ESFTGate, ESFTToken
from esft_lightning.strategies.frozen_experts import FrozenExperts
from esft_lightning.strategies.full import FullFineTuning
from esft_lightning.strategies.groups import GROUPS, GroupCount, group_parameters, training_table
from esft_lightning.strategies.lora import LoRA
from esft_lightning.strategies.random_experts import RandomExperts
from esft_lightning.strategies.relevant_expert_lora import RelevantExpertLoRA

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
