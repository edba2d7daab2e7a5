"""Likelihood of options and texts against the plain sum over one row at a time."""

import pytest
import torch
from transformers import AutoTokenizer

from esft_lightning.embedded import TINY
from esft_lightning.embedded.tiny_model import new_model, tiny_config
from esft_lightning.evaluation import option_scores, predict_texts

PROMPTS = ["Tom boiled some water. Next, Tom", "User: Who was thirsty?\n\nAssistant:", "1+1="]
OPTIONS = [
    [" poured the water over the leaves", " ran"],
    [" Tom.", " Ann.", " the old painter of Ostwick."],
    ["2", "37"],
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model(tokenizer):
    return new_model(tiny_config(tokenizer), seed=1).eval()


def by_hand(model, tokenizer, prompt: str, option: str) -> float:
    head = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    tail = tokenizer(option, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([head + tail]), use_cache=False).logits[0].log_softmax(-1)
    return sum(logs[len(head) - 1 + place, token].item() for place, token in enumerate(tail)) / len(tail)


def test_option_scores_equal_the_sum_over_one_row_at_a_time(model, tokenizer):
    expected = [[by_hand(model, tokenizer, p, o) for o in options] for p, options in zip(PROMPTS, OPTIONS, strict=True)]
    for batch_size in (1, 3, 64):
        scores = option_scores(model, tokenizer, PROMPTS, OPTIONS, batch_size=batch_size)
        for got, want in zip(scores, expected, strict=True):
            assert got == pytest.approx(want, abs=2e-5)


def test_an_empty_option_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="question 1 has an empty option"):
        option_scores(model, tokenizer, PROMPTS[:2], [["a"], [""]])


def test_texts_are_predicted_as_one_at_a_time(model, tokenizer):
    texts = ["The capital of Velmark is Ostwick.", "a", "def work(x):\n    return x + 1"]
    found = predict_texts(model, tokenizer, texts, batch_size=2)
    for text, prediction in zip(texts, found, strict=True):
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
        guess = logs.argmax(-1).tolist()
        assert prediction.right == sum(g == i for g, i in zip(guess[:-1], ids[1:], strict=True))
        assert prediction.tokens == len(ids) - 1
        nats = -sum(logs[place, token].item() for place, token in enumerate(ids[1:]))
        assert prediction.nats == pytest.approx(nats, abs=1e-3)


def test_no_text_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="no token to predict"):
        predict_texts(model, tokenizer, [""])
