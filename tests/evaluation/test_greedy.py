"""Answers are decoded greedily, whatever a checkpoint's generation configuration asks for, and that is said."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from chat_templates import byte_level
from tiny_models import deepseek_config
from transformers import DeepseekV2ForCausalLM, GenerationConfig

from esft_lightning.evaluation import generate
from esft_lightning.evaluation.greedy import decoding_greedily, set_aside

ASKS: dict[str, Any] = {
    "repetition_penalty": 1.3, "do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_new_tokens": 9,
    "no_repeat_ngram_size": 2, "suppress_tokens": [104], "num_beams": 3, "max_length": 7,
    "exponential_decay_length_penalty": (2, 3.0), "bad_words_ids": [[101]], "forced_eos_token_id": 5,
}  # fmt: skip
"""What `generation_config.json` of a published checkpoint may hold."""


@pytest.fixture(scope="module")
def model() -> DeepseekV2ForCausalLM:
    torch.manual_seed(3)
    return DeepseekV2ForCausalLM(deepseek_config(vocab_size=300, bos_token_id=None, eos_token_id=None)).eval()


def answers(model: Any) -> list[str]:
    return generate(model, byte_level(), ["What is it?", "Two"], max_new_tokens=24)


@pytest.mark.parametrize("name", ASKS)
def test_no_setting_of_a_checkpoint_changes_an_answer(
    model: Any, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "generation_config", GenerationConfig())
    expected = answers(model)
    assert any(expected)
    theirs = GenerationConfig(**{name: ASKS[name]})
    monkeypatch.setattr(model, "generation_config", theirs)
    before = theirs.to_dict()
    with caplog.at_level(logging.WARNING, "esft_lightning"):
        assert answers(model) == expected
    assert model.generation_config is theirs and theirs.to_dict() == before, "the checkpoint's own comes back"
    assert (f"set aside: {name}=" in caplog.text) == (name != "max_length")


def test_what_asks_for_nothing_is_not_said() -> None:
    quiet = {"repetition_penalty": 1.0, "do_sample": False, "eos_token_id": [1, 2], "max_length": 99, "use_cache": True}
    assert set_aside(GenerationConfig(**quiet)) == {}
    assert set_aside(GenerationConfig(temperature=0.6, **quiet)) == {"temperature": 0.6}


def test_the_configuration_comes_back_after_an_error(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = GenerationConfig(repetition_penalty=1.3, eos_token_id=4, pad_token_id=2)
    monkeypatch.setattr(model, "generation_config", theirs)
    with pytest.raises(RuntimeError, match="out of memory"), decoding_greedily(model, [1, 7]):
        assert (theirs.repetition_penalty, theirs.eos_token_id, theirs.pad_token_id) == (None, [1, 7], 2)
        raise RuntimeError("out of memory")
    assert (theirs.repetition_penalty, theirs.eos_token_id) == (1.3, 4)
