"""The embedded tiny model: what its folder promises."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from esft_lightning.embedded import TINY
from esft_lightning.embedded.corpus import WEIGHTS
from esft_lightning.evaluation import general_ability

TOKENIZER = AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()


def test_the_folder_is_small_and_loads_completely():
    assert sum(path.stat().st_size for path in TINY.rglob("*")) <= 15_000_000
    _, report = AutoModelForCausalLM.from_pretrained(TINY, output_loading_info=True)
    assert not any(report.values()), report


def test_the_architecture_is_deepseek_v2_with_64_routed_experts(model):
    config = model.config
    assert config.model_type == "deepseek_v2"
    assert (config.n_routed_experts, config.num_experts_per_tok, config.n_shared_experts) == (64, 6, 1)
    assert (config.num_hidden_layers, config.first_k_dense_replace, config.vocab_size) == (5, 1, 2048)
    assert config.max_position_embeddings == 4096
    assert not config.norm_topk_prob and config.tie_word_embeddings


@pytest.mark.xfail(strict=True, reason="the embedded base was pretrained on the rows before these (`rows.ROWS`)")
def test_the_record_names_command_seed_minutes_and_loss():
    record = json.loads((TINY / "PRETRAINING.json").read_text())
    assert record["finished"] is True
    assert "esft_lightning.embedded.pretrain" in record["command"] and f"--seed {record['seed']}" in record["command"]
    assert record["minutes"] > 10 and record["tokens"] > 5_000_000
    assert set(record["held_out_loss"]) == set(WEIGHTS)


@given(st.text(max_size=60).filter(lambda text: "<" not in text))
def test_text_survives_the_tokenizer(text):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text.encode("utf-8", "ignore").decode()


def test_digits_are_split_one_by_one():
    tokens = [TOKENIZER.decode([token]) for token in TOKENIZER("x=90210", add_special_tokens=False)["input_ids"]]
    assert tokens[-5:] == list("90210")


def test_the_chat_template_writes_the_esft_format():
    messages = [{"role": "user", "content": "Hi 12"}, {"role": "assistant", "content": "Yes."}]
    assert TOKENIZER.apply_chat_template(messages, tokenize=False) == "<s>User: Hi 12\n\nAssistant: Yes.</s>"
    prompt = TOKENIZER.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<s>User: Hi 12\n\nAssistant:"


@pytest.mark.xfail(strict=True, reason="the embedded base was pretrained on the rows before these (`rows.ROWS`)")
def test_general_ability_is_beyond_chance_on_every_probe(model):
    scores = general_ability(model, TOKENIZER, limit=30).scores
    chance = {"recall": 0.0, "continuation": 0.25, "multiple_choice": 0.25, "reference": 0.5, "format": 0.0}
    for probe, level in chance.items():
        assert scores[probe] > level + 0.05, (probe, scores)
    assert scores["held_out_text"] > 0.4
    assert scores["average"] == pytest.approx(sum(scores[name] for name in [*chance, "held_out_text"]) / 6)
