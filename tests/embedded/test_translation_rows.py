"""The embedded translation task: sentences of a pool, words kept for one, and a grammar that can be read back."""

import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_rows_of import COUNTS, ROW_POOLS, assert_apart, pairs, rows

from esft_lightning.embedded import translation
from esft_lightning.embedded.pools import pool_of
from esft_lightning.embedded.translation import Noun, Sentence, draw_sentence, english, kept_for, velm
from esft_lightning.embedded.translation.grammar import ENDINGS
from esft_lightning.embedded.translation.lexicon import (
    ADJECTIVES,
    BEINGS,
    EATING,
    FOODS,
    HANDLING,
    LETTERS,
    NOUNS,
    NUMBERS,
    PLACES,
    PRONOUNS,
    TIMES,
    VERBS,
)

SCRIPT = set(LETTERS.values())
LATIN = {script: latin for latin, script in LETTERS.items()}


def read_back(said: str) -> Sentence:
    """What a Velm sentence says, read word by word from its end: a reference of the grammar's own."""
    lists = {"noun": NOUNS, "pronoun": PRONOUNS, "adjective": ADJECTIVES, "number": NUMBERS, "time": TIMES}
    inverse = {form: (kind, word) for kind, words in lists.items() for word, form in words.items()}
    words = ["".join(LATIN.get(letter, letter) for letter in word) for word in said.removesuffix(".").split()]
    verb = words.pop()
    past, verb = verb.endswith(ENDINGS["past"]), verb.removesuffix(ENDINGS["past"])
    negated, verb = verb.endswith(ENDINGS["not"]), verb.removesuffix(ENDINGS["not"])
    time, place, nouns = "", "", []
    for word in words:
        if word.endswith(ENDINGS["place"]) and inverse.get(word.removesuffix(ENDINGS["place"]), ("",))[0] == "noun":
            place = inverse[word.removesuffix(ENDINGS["place"])][1]
            continue
        plural = word not in inverse
        kind, meant = inverse[word.removesuffix(ENDINGS["plural"]) if plural else word]
        if kind == "time":
            time = meant
        elif kind == "adjective":
            nouns[-1]["adjective"] = meant
        elif kind == "number":
            nouns[-1]["number"] = meant
        else:
            nouns.append({"noun": meant, "plural": plural})
    spoken = {form: word for word, form in VERBS.items()}[verb]
    parts = [Noun(**noun) for noun in nouns]
    return Sentence(parts[0], spoken, past, negated, parts[1] if len(parts) > 1 else None, place, time)


@given(st.integers(0, 10**9), st.sampled_from(("pretraining", *ROW_POOLS)))
@settings(max_examples=150, deadline=None)
def test_a_sentence_can_be_read_back_from_its_velm(seed, pool):
    sentence = draw_sentence(random.Random(seed), pool)
    assert set(velm(sentence)) <= SCRIPT | {" ", "."}
    assert read_back(velm(sentence)) == sentence
    assert pool_of(english(sentence)) == pool


def test_words_kept_for_a_pool_stand_in_no_rows_of_another():
    words = {**NOUNS, **ADJECTIVES, **VERBS}
    kept = {pool: {word for word in words if kept_for(word) == pool} for pool in ("validation", "test")}
    assert len(kept["test"]) > 25 and len(kept["validation"]) > 10
    for pool in ROW_POOLS:
        said = {word for question, _ in pairs("translation", pool) for word in question.replace(".", "").split()}
        for owner, some in kept.items():
            met = {word for word in some if "".join(LETTERS[letter] for letter in words[word]) in said}
            assert bool(met) == (owner == pool), (pool, met)


def test_prompts_and_shapes_of_rows_are_disjoint():
    assert_apart(translation.PROMPTS, "prompts")
    assert_apart({pool: translation.SHAPES[pool] for pool in ROW_POOLS}, "shapes")


def test_pretraining_reads_every_word_but_no_sentence_with_its_translation():
    texts = list(islice(translation.documents(random.Random(5)), 2500))
    told = "\n".join(texts)
    for words in (NOUNS, ADJECTIVES, VERBS, TIMES, NUMBERS, PRONOUNS):
        for form in words.values():
            assert "".join(LETTERS[letter] for letter in form) in told
    for text in texts:
        longest_velm = max((len(run.split()) for run in text.split("\n") if set(run) <= SCRIPT | {" ", "."}), default=0)
        assert longest_velm <= 3 or set(text) <= SCRIPT | {" ", "."}  # running text has one language alone
    answers = [answer for pool in ROW_POOLS for _, answer in pairs("translation", pool)]
    sentences = {f"{sentence.removesuffix('.')}." for answer in answers for sentence in answer.split(". ")}
    assert len(sentences) > 4000
    assert not sentences & {f"{sentence}." for text in texts for sentence in text.replace(". ", ".").split(".")}


def test_rows_carry_their_metric_and_answers_are_english():
    assert all(row["metric"] == "content_words" for row in rows("translation", "test"))
    for pool in ROW_POOLS:
        assert all(
            SCRIPT.isdisjoint(answer) and not SCRIPT.isdisjoint(asked) for asked, answer in pairs("translation", pool)
        )
        two = sum(answer.count(".") == 2 for _, answer in pairs("translation", pool))
        assert 0.35 < two / COUNTS[pool] < 0.65


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (Sentence(Noun("bird", True, "red"), "eat/ate", True, False, Noun("apple")), "The red birds ate the apple."),
        (
            Sentence(Noun("he"), "see/saw", False, True, Noun("wolf", True, number="three")),
            "He does not see three wolves.",
        ),
        (
            Sentence(Noun("queen"), "sing/sang", False, False, None, "bridge", "often"),
            "Often the queen sings on the bridge.",
        ),
    ],
)
def test_english_is_english(sentence, said):
    assert english(sentence) == said


def test_lists_have_words_for_every_pool():
    for words in (BEINGS, FOODS, PLACES, ADJECTIVES, EATING, HANDLING):
        assert {kept_for(word) for word in words} == {None, "validation", "test"} or words is EATING
