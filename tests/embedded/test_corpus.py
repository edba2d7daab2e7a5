"""The pretraining mixture: weights, held-out text, real text, and no pair of an adaptation task."""

import importlib
import random
import re
from itertools import islice, pairwise

import pytest

from esft_lightning.embedded import real_text
from esft_lightning.embedded.corpus import (
    OPENING,
    STAGE,
    WEIGHTS,
    corpus_digest,
    domain_texts,
    everything,
    held_out_texts,
)
from esft_lightning.embedded.math import Step, pair_pool, works_only
from esft_lightning.embedded.pools import POOLS, held_out


@pytest.mark.parametrize("shares", [WEIGHTS, STAGE, OPENING])
def test_weights_are_shares_of_the_same_domains(shares):
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) <= set(WEIGHTS) and set(STAGE) == set(WEIGHTS)


@pytest.mark.parametrize("domain", WEIGHTS)
def test_held_out_text_is_never_read(domain):
    held = held_out_texts(domain, 20)
    assert held == held_out_texts(domain, 20) != held_out_texts(domain, 20, seed=1)
    assert all(held)
    read = set(islice(domain_texts(domain, 0), 600))
    assert not set(held) & read
    if domain not in real_text.REAL:  # a rule of the text itself, so that no length of pretraining can read it
        assert all(held_out(text) for text in held)
        assert not any(held_out(text) for text in read)


@pytest.mark.parametrize("domain", real_text.REAL)
def test_real_text_is_read_once_before_anything_comes_again(domain):
    chunks = real_text.chunks(domain)
    first = list(islice(real_text.texts(domain, random.Random(0)), len(chunks)))
    assert sorted(first) == sorted(chunks) and first != list(chunks)
    assert not set(real_text.chunks(domain, held_out=True)) & set(chunks)


@pytest.mark.parametrize("task", ["intent", "summary", "law", "translation"])
def test_no_answer_of_an_adaptation_task_is_in_the_pretraining_text(task):
    module = importlib.import_module(f"esft_lightning.embedded.{task}")
    text = "\n".join(islice(domain_texts(task, 0), 800))
    assert "User:" not in text and "Assistant:" not in text
    rng = random.Random(0)
    for _ in range(200):
        example = module.example(rng, "train")
        assert not (example.user in text and example.answer in text)


def test_everything_holds_every_domain_by_its_larger_share():
    texts = list(everything(60_000, seed=1))
    assert 60_000 <= sum(map(len, texts)) <= 100_000
    for domain in WEIGHTS:
        assert next(domain_texts(domain, 1)) in texts, domain


def test_the_digest_follows_the_texts(monkeypatch):
    name = corpus_digest()
    assert name == corpus_digest.__wrapped__() and len(name) == 16
    monkeypatch.setitem(WEIGHTS, "math", 0.5)
    assert corpus_digest.__wrapped__() != name


def test_an_unknown_domain_is_named():
    with pytest.raises(KeyError, match="no domain 'poems'"):
        next(domain_texts("poems", 0))


def test_solved_questions_side_by_side_make_no_pair_of_steps_of_another_pool():
    first = Step(20, "+", 3, 23)
    others = {pair_pool(first, step): step for step in (Step(23, "+", n, 23 + n) for n in range(2, 76))}
    assert set(others) == set(POOLS)
    for pool, second in others.items():
        text = f"Q: From 20, put 3 on top.\nA: {first}\n\nQ: Go on.\nA: 23 + {second.right} is {second.result}."
        assert works_only(text, pool)
        assert works_only(text, "pretraining") == (pool == "pretraining")
    pairs = 0
    for text in islice(domain_texts("instructions", 3), 4000):
        found = [Step(int(a), sign, int(b), int(c)) for a, sign, b, c in re.findall(r"(\d+)([-+*/])(\d+)=(\d+)", text)]
        assert all(pair_pool(*pair) == "pretraining" for pair in pairwise(found)), text
        pairs += max(0, len(found) - 1)
    assert pairs > 100
