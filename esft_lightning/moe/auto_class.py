"""Which of Transformers' auto classes makes a language model of a configuration."""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    PretrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)

from esft_lightning.moe.discovery import NotAnMoEError

_CHOICES = (
    (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
    (AutoModelForImageTextToText, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
    (AutoModelForMultimodalLM, MODEL_FOR_MULTIMODAL_LM_MAPPING),
)


def auto_class(config: PretrainedConfig) -> Any:
    """The auto class for a configuration: a causal LM where there is one, else the multimodal model around it.

    Args:
        config: A model's configuration. One that brings its own code names its causal LM in `auto_map`.

    Returns:
        A class with `from_config` and `from_pretrained`.

    Raises:
        NotAnMoEError: If Transformers has no language model for it.
    """
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    for choice, known in _CHOICES:
        if type(config) in known:
            return choice
    raise NotAnMoEError(
        f"Transformers has no language model for a {type(config).__name__} (model_type {config.model_type!r}); choose "
        "the folder of a causal LM, or of a multimodal model that generates text"
    )
