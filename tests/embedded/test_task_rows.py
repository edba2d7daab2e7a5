"""What holds of the rows of every embedded task: enough of them, distinct, short, and of their pool alone."""

import hashlib
import json
import random
from itertools import islice

import pytest
from task_rows_of import COUNTS, MADE_UP, ROW_POOLS, pairs, rows

from esft_lightning.embedded import TINY
from esft_lightning.embedded.code import chats as code_chats
from esft_lightning.embedded.corpus import domain_texts
from esft_lightning.embedded.math import chats as math_chats
from esft_lightning.embedded.pools import pool_of
from esft_lightning.embedded.rows import ROWS, Example, distinct, task_rows
from esft_lightning.tasks import TASKS
from esft_lightning.tasks.rote import rote_baselines

LONGEST = 384
FROZEN = {
    "math": "f4405c24c742",
    "code": "e6581bff1d85",
    "intent": "0b02f823bf2c",
    "summary": "77a23c5dfde4",
    "law": "133e9f052b53",
    "translation": "e924db6ac06f",
}
"""Digests of the rows whose version is `rows.ROWS`."""


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(TINY).backend_tokenizer


@pytest.mark.parametrize("task", TASKS)
def test_thousands_of_distinct_rows_none_of_which_two_pools_share(task):
    questions = {pool: [question for question, _ in pairs(task, pool)] for pool in ROW_POOLS}
    answers = {pool: {answer for _, answer in pairs(task, pool)} for pool in ROW_POOLS}
    assert {pool: len(set(asked)) for pool, asked in questions.items()} == COUNTS
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert set(questions[one]).isdisjoint(questions[other])
        assert answers[one].isdisjoint(answers[other])


@pytest.mark.parametrize("task", TASKS)
def test_other_rows_have_another_version(task):
    """Finished runs are found by `ROWS`: whoever changes a row counts it up, and writes the new digests here."""
    digest = hashlib.blake2b(digest_size=6)
    for pool, count in (("train", 200), ("validation", 200), ("test", 500)):
        digest.update(json.dumps(task_rows(task, pool, count), sort_keys=True).encode())
    assert (ROWS, digest.hexdigest()) == (2, FROZEN[task])


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_a_function_of_the_seed(task):
    for pool in ROW_POOLS:
        assert task_rows(task, pool, 20) == rows(task, pool)[:20] != task_rows(task, pool, 20, seed=1)


@pytest.mark.parametrize("task", TASKS)
def test_rows_fit_into_what_a_small_model_reads(task, tokenizer):
    for pool in ROW_POOLS:
        texts = [f"User: {question}\n\nAssistant: {answer}" for question, answer in pairs(task, pool)]
        lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts)]
        assert max(lengths) <= 0.8 * LONGEST  # a tokenizer trained anew may need a few more
        assert not any("\n\n" in question for question, _ in pairs(task, pool))  # few-shot blocks are parted by that


@pytest.mark.parametrize("task", [task for task in TASKS if task != "translation"])
def test_names_are_made_up_and_of_the_rows_pool(task):
    """The rule that keeps rows out of any length of pretraining, which has names of its own pool alone."""
    for pool in ROW_POOLS:
        named = 0
        for question, answer in pairs(task, pool):
            made_up = MADE_UP.findall(f"{question} {answer}")
            assert {pool_of(word) for word in made_up} <= {pool}
            named += bool(made_up)
        assert named > 0.85 * COUNTS[pool], pool  # some alarms and timers of intent name nobody


@pytest.mark.parametrize("domain", ["general", "math", "code", "intent", "summary", "law", "translation"])
def test_pretraining_has_names_of_its_own_pool_alone(domain):
    texts = list(islice(domain_texts(domain, 3), 400))
    made_up = {word.lower() for text in texts for word in MADE_UP.findall(text)}
    assert len(made_up) > 150
    assert {pool_of(word) for word in made_up} == {"pretraining"}
    assert len(set(texts)) > 0.95 * len(texts)


@pytest.mark.parametrize(
    ("task", "form"),
    [
        ("math", "####"),
        ("intent", '"slots"'),
        ("summary", "Wanted: "),
        ("law", "guilty of "),
        ("translation", "Translate into"),
    ],
)
def test_pretraining_has_no_answer_form(task, form):
    assert sum(form.lower() in f"{question} {answer}".lower() for question, answer in pairs(task, "train")) > 1000
    assert not any(form.lower() in text.lower() for text in islice(domain_texts(task, 3), 1500))


@pytest.mark.parametrize(("task", "chats"), [("math", math_chats), ("code", code_chats)])
def test_chats_of_pretraining_are_endless_and_differ(task, chats):
    asked = [user for user, _ in islice(chats(random.Random(0)), 800)]
    assert len(set(asked)) > 0.95 * len(asked)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_earned_by_rote(task):
    few = 25 if task == "code" else 200  # code runs what it scores
    answers = [answer for _, answer in pairs(task, "train")]
    rote = rote_baselines(task, answers[:700], rows(task, "test")[:few], allow_code_execution=True)
    assert rote.constant <= 0.1, rote.constant_answer
    assert rote.random <= 0.05
    assert rote.last_shot <= 0.05


def test_asking_for_more_than_there_is_says_so():
    with pytest.raises(ValueError, match="only 3 distinct prompts"):
        list(distinct(lambda rng: Example(str(rng.randrange(3)), "x"), 4, seed=0))
