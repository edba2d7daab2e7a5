"""Translation rows: distinct, reproducible, split by shapes and pairs, invertible, and never paired in pretraining."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.embedded import translation
from esft_lightning.data.embedded.translation import Noun, Sentence, english, held_out, velm

TRAIN_ROWS = translation.train_rows(4500)
TEST_ROWS = translation.test_rows(600)
DOCUMENTS = list(itertools.islice(translation.documents(random.Random(5)), 1500))
SCRIPT = set(translation.LETTERS.values())


def _prompts() -> tuple[list[str], list[str]]:
    return [r["messages"][0]["content"] for r in TRAIN_ROWS], [
        r["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:") for r in TEST_ROWS
    ]


def test_rows_are_a_function_of_the_seed():
    assert (
        translation.train_rows(50, seed=3) == translation.train_rows(50, seed=3) != translation.train_rows(50, seed=4)
    )
    assert translation.test_rows(50, seed=3) == translation.test_rows(50, seed=3) != translation.test_rows(50, seed=4)
    first, second = (list(itertools.islice(translation.documents(random.Random(9)), 20)) for _ in range(2))
    assert first == second


def test_thousands_of_distinct_rows_of_bounded_length():
    train, test = _prompts()
    assert len(set(train)) == 4500
    assert len(set(test)) == 600
    assert max(map(len, train + test)) <= 350
    assert max(len(r["messages"][1]["content"]) for r in TRAIN_ROWS) <= 200


def test_most_rows_go_from_velm_to_english_in_both_splits():
    to_english = [set(r["messages"][1]["content"]).isdisjoint(SCRIPT) for r in TRAIN_ROWS]
    assert 0.87 < sum(to_english) / len(to_english) < 0.93
    assert 0.85 < sum(set(r["raw_answers"][0]).isdisjoint(SCRIPT) for r in TEST_ROWS) / len(TEST_ROWS) < 0.95


def _drawn(test: bool) -> list[Sentence]:
    rng = random.Random(2)
    return [translation._draw(rng, test=test, choose=random.Random.choice) for _ in range(3000)]


def test_train_and_test_share_no_prompt_shape_or_pair_of_subject_and_verb():
    train, test = _prompts()
    assert set(train).isdisjoint(test)
    assert set(translation.TRAIN_SHAPES).isdisjoint(translation.TEST_SHAPES)
    pairs = [{(s.subject.noun, s.verb) for s in _drawn(test)} for test in (False, True)]
    assert pairs[0].isdisjoint(pairs[1])
    assert all(not held_out(*pair) for pair in pairs[0])
    assert all(held_out(*pair) for pair in pairs[1])
    train_sentences = {text for r in TRAIN_ROWS for text in (r["messages"][1]["content"],)}
    assert train_sentences.isdisjoint(r["raw_answers"][0] for r in TEST_ROWS)


def test_prompt_frames_of_train_and_test_differ():
    train, test = _prompts()
    assert not any(prompt.startswith("Put this into") for prompt in train)
    assert all(prompt.startswith("Put this into") for prompt in test)


def test_every_subject_and_verb_occurs_on_both_sides_of_the_split():
    for test in (False, True):
        drawn = _drawn(test)
        assert {s.subject.noun for s in drawn} == {*translation.BEINGS, *translation.PRONOUNS}
        assert {s.verb for s in drawn} == set(translation.VERBS)


def test_rows_use_the_first_words_of_a_list_most_and_documents_use_all_alike():
    nouns = list(translation.BEINGS)
    rows = " ".join(r["messages"][1]["content"] for r in TRAIN_ROWS).lower()
    texts = " ".join(document for document in DOCUMENTS if SCRIPT.isdisjoint(document)).lower()
    in_rows, in_texts = ([text.count(f" {noun} ") for noun in (nouns[0], nouns[-3])] for text in (rows, texts))
    assert in_rows[0] > 3 * in_rows[1] > 30
    assert in_texts[0] < 2 * in_texts[1]


def test_words_of_velm_are_all_different_and_their_endings_cannot_be_mistaken():
    tables = (translation.NOUNS, translation.VERBS, translation.ADJECTIVES, translation.TIMES, translation.NUMBERS)
    stems = [word for table in (*tables, translation.PRONOUNS) for word in table.values()]
    assert len(stems) == len(set(stems)) == 125
    assert not any("i" in stem for stem in stems)  # endings alone have an i
    assert set("".join(stems)) | set("imxqz") <= set(translation.LETTERS)


def test_a_document_is_in_one_language_and_holds_no_test_sentence():
    held = {text for row in TEST_ROWS for text in (row["raw_answers"][0], row["prompt"].split(": ", 2)[2][:-12])}
    for document in DOCUMENTS:
        letters = {character for character in document if character.isalpha()}
        assert letters <= SCRIPT or letters.isdisjoint(SCRIPT)
        assert held.isdisjoint(part.strip() + "." for part in document.split("."))


def test_documents_give_both_languages():
    velm_share = sum(not SCRIPT.isdisjoint(document) for document in DOCUMENTS) / len(DOCUMENTS)
    assert 0.5 < velm_share < 0.7


def _parse(text: str) -> dict[str, object]:
    """Read a Velm sentence back by the grammar alone: an independent reading of what `velm` writes."""
    roman = {letter: latin for latin, letter in translation.LETTERS.items()}
    words = ["".join(roman[c] for c in word) for word in text.removesuffix(".").split(" ")]
    back = {word: (kind, key) for kind in ("NOUNS", "VERBS", "ADJECTIVES", "TIMES", "NUMBERS", "PRONOUNS")
            for key, word in getattr(translation, kind).items()}  # fmt: skip
    read: list[tuple[str, str, str]] = []
    for word in words:
        stem, mark, _ = word.partition("i")
        kind, key = back[stem]
        read.append((kind, key, word[len(stem) :] if mark else ""))
    return {"words": read}


nouns = st.builds(
    Noun,
    noun=st.sampled_from(sorted(translation.BEINGS)),
    plural=st.booleans(),
    adjective=st.sampled_from(["", *translation.ADJECTIVES]),
)
sentences = st.builds(
    Sentence,
    subject=nouns,
    verb=st.sampled_from(sorted(translation.MEETING)),
    past=st.booleans(),
    negated=st.booleans(),
    object=nouns,
    place=st.sampled_from(["", *translation.PLACES]),
    time=st.sampled_from(["", *translation.TIMES]),
)


@given(sentences)
@settings(max_examples=200, deadline=None)
def test_a_velm_sentence_can_be_read_back(sentence):
    """Nothing that an English translation needs is lost in Velm: each meaning has its own sentence."""
    expected: list[tuple[str, str, str]] = []
    if sentence.time:
        expected.append(("TIMES", sentence.time, ""))
    for noun in (sentence.subject, sentence.object):
        expected.append(("NOUNS", noun.noun, "im" * noun.plural))
        if noun.adjective:
            expected.append(("ADJECTIVES", noun.adjective, ""))
    if sentence.place:
        expected.append(("NOUNS", sentence.place, "ix"))
    expected.append(("VERBS", sentence.verb, "iq" * sentence.negated + "iz" * sentence.past))
    assert _parse(velm(sentence))["words"] == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (Sentence(Noun("bird", True, "red"), "eat/ate", True, False, Noun("apple")), "The red birds ate the apple."),
        (Sentence(Noun("king"), "wait/waited", True, True), "The king did not wait."),
        (Sentence(Noun("she"), "carry/carried", False, False, Noun("box", True)), "She carries the boxes."),
        (
            Sentence(Noun("I"), "find/found", False, True, Noun("knife", True, number="two")),
            "I do not find two knives.",
        ),
        (Sentence(Noun("child", True), "run/ran", False, False, place="hill"), "The children run on the hill."),
        (Sentence(Noun("fox"), "sing/sang", True, False, time="yesterday"), "Yesterday the fox sang."),
        (Sentence(Noun("fox"), "sleep/slept", False, True, place="house"), "The fox does not sleep in the house."),
    ],
)
def test_english_is_grammatical(sentence, expected):
    assert english(sentence) == expected
