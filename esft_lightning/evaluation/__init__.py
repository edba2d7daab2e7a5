"""Measuring a model: generation, likelihood of options, and general ability before and after fine-tuning.

Knows causal language models and tokenizers; knows neither strategies nor training. Names are loaded when first used,
since they pull in torch.
"""

from typing import TYPE_CHECKING

from esft_lightning.first_use import on_first_use

if TYPE_CHECKING:
    from esft_lightning.evaluation.general import GeneralAbility, general_ability
    from esft_lightning.evaluation.generation import generate
    from esft_lightning.evaluation.likelihood import TextPrediction, option_scores, predict_texts

__all__ = ["GeneralAbility", "TextPrediction", "general_ability", "generate", "option_scores", "predict_texts"]

_HOMES = {
    "GeneralAbility": "general",
    "TextPrediction": "likelihood",
    "general_ability": "general",
    "generate": "generation",
    "option_scores": "likelihood",
    "predict_texts": "likelihood",
}
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
