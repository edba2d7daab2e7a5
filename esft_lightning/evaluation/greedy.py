"""Greedy decoding, whatever a checkpoint's own generation configuration says.

`generation_config.json` comes with sampling, penalties and lengths that its makers chat with. Transformers fills with
them all that a call of `generate` leaves open, so that a repetition penalty would change greedy answers unnoticed, and
scores of a base with such a file could not be compared with those of one without.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["decoding_greedily", "set_aside"]

log = logging.getLogger(__name__)
_NO_CHANGE: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1.0,), "encoder_repetition_penalty": (1.0,), "length_penalty": (1.0,), "do_sample": (False,),
    "temperature": (1.0,), "top_p": (1.0,), "top_k": (0, 50), "typical_p": (1.0,), "num_beams": (1,),
    "num_beam_groups": (1,), "num_return_sequences": (1,), "min_length": (0,), "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,), "diversity_penalty": (0.0,), "guidance_scale": (1.0,),
}  # fmt: skip
"""Values that ask for nothing."""
_NO_DECODING = frozenset({
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "max_length", "max_new_tokens",
    "transformers_version", "use_cache", "return_dict_in_generate", "early_stopping", "is_assistant",
})  # fmt: skip
"""Settings that decide no token: which ones end an answer, and how long it may be, is said elsewhere."""
_NO_DECODING_OF = (
    "_",
    "output_",
    "cache_",
    "compile",
    "disable_compile",
    "low_memory",
    "prefill",
    "continuous",
    "max_cache",
)


def set_aside(config: GenerationConfig) -> dict[str, Any]:
    """The settings of a generation configuration that would decode in another way than greedily."""
    return {
        name: value
        for name, value in config.to_diff_dict().items()
        if value not in (None, [], False, *_NO_CHANGE.get(name, ()))
        and name not in _NO_DECODING
        and not name.startswith(_NO_DECODING_OF)
    }


@contextmanager
def decoding_greedily(model: PreTrainedModel, ends: list[int]) -> Iterator[None]:
    """For the block, the model's generation configuration holds its end tokens and nothing else; said once.

    Args:
        model: Any causal LM, wrapped or not: its configuration is changed in place.
        ends: The tokens that end an answer.
    """
    config: Any = model.generation_config
    if others := set_aside(config):
        _say(", ".join(f"{name}={value}" for name, value in others.items()))
    own = dict(vars(config))
    plain = GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=ends, pad_token_id=config.pad_token_id)
    try:
        vars(config).clear()
        vars(config).update(vars(plain))
        yield
    finally:
        vars(config).clear()
        vars(config).update(own)


@lru_cache(maxsize=64)
def _say(others: str) -> None:
    log.warning("answers are decoded greedily; what the base's generation configuration asks is set aside: %s", others)
