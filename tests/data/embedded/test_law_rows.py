"""Law rows: distinct, reproducible, split by words and templates, ruled by the Code, and never told to pretraining."""

import dataclasses
import itertools
import random
import re

import pytest

from esft_lightning.data.embedded import law
from esft_lightning.metrics.law import parse_ruling

TRAIN_ROWS = law.train_rows(4500)
TEST_ROWS = law.test_rows(600)
DOCUMENTS = list(itertools.islice(law.documents(random.Random(5)), 1500))


def _question(row: dict) -> str:
    return row["messages"][0]["content"]


def test_rows_are_a_function_of_the_seed():
    assert law.train_rows(50, seed=3) == law.train_rows(50, seed=3) != law.train_rows(50, seed=4)
    assert law.test_rows(50, seed=3) == law.test_rows(50, seed=3) != law.test_rows(50, seed=4)
    first, second = (list(itertools.islice(law.documents(random.Random(9)), 20)) for _ in range(2))
    assert first == second


def test_thousands_of_distinct_rows_of_bounded_length():
    questions = {_question(row) for row in TRAIN_ROWS}
    assert len(questions) == len(TRAIN_ROWS) == 4500
    assert len({row["prompt"] for row in TEST_ROWS}) == 600
    assert max(map(len, questions)) <= 350
    assert max(len(row["messages"][1]["content"]) for row in TRAIN_ROWS) <= 200


def test_train_and_test_share_no_prompt_slot_or_template():
    questions = {f"User: {_question(row)}\n\nAssistant:" for row in TRAIN_ROWS}
    assert questions.isdisjoint(row["prompt"] for row in TEST_ROWS)
    for field in dataclasses.fields(law.Wordings):
        assert set(getattr(law.TRAIN, field.name)).isdisjoint(getattr(law.TEST, field.name)), field.name
    for offence in law.OFFENCES:
        assert set(offence.train_deeds).isdisjoint(offence.test_deeds), offence.name


def test_test_values_do_not_occur_in_training_prompts():
    text = "\n".join(map(_question, TRAIN_ROWS))
    slots = (*law.TEST.things, *law.TEST.places, *(name for person in law.TEST.people for name in person.split()))
    assert [slot for slot in set(slots) if re.search(rf"\b{slot}\b", text)] == []


def test_documents_tell_the_code_but_no_ruling_and_no_prompt():
    text = "\n".join(DOCUMENTS)
    for offence in law.OFFENCES:
        assert offence.definition in text
        assert f"fine of {offence.fine} crowns" in text
    assert "guilty of" not in text.lower()
    assert "costs borne" not in text.lower()
    prompts = [_question(row) for row in TRAIN_ROWS] + [row["prompt"][len("User: ") :] for row in TEST_ROWS]
    assert not any(prompt.split("\n\nAssistant:")[0] in text for prompt in prompts)


@pytest.mark.parametrize("side", ["train", "test"])
def test_every_answer_follows_from_the_words_of_its_facts(side):
    """Rule again from the text alone, by looking for the wordings, and compare."""
    words = law.TRAIN if side == "train" else law.TEST
    if side == "train":
        cases = [(_question(row), row["messages"][1]["content"]) for row in TRAIN_ROWS]
    else:
        cases = [(row["prompt"], row["raw_answers"][0]) for row in TEST_ROWS]
    deeds = {
        deed: offence
        for offence in law.OFFENCES
        for deed in (offence.train_deeds if side == "train" else offence.test_deeds)
    }
    patterns = {
        re.compile(
            re.escape(deed).replace(r"\{", "{").replace(r"\}", "}").format(thing=".+", place=r"\w+", other=".+")
        ): o
        for deed, o in deeds.items()
    }
    for facts, answer in cases:
        matching = {offence.name for pattern, offence in patterns.items() if pattern.search(facts)}
        fields = parse_ruling(answer)
        assert fields is not None
        assert fields["article"].rsplit(" ", 1)[0] in matching
        offence = next(o for o in law.OFFENCES if o.name == fields["article"].rsplit(" ", 1)[0])
        said = {
            kind: any(sentence in facts for sentence in getattr(words, kind))
            for kind in ("aggravating", "mitigating", "justifying", "destitute")
        }
        assert answer == law.ruling(
            offence,
            aggravated=said["aggravating"],
            mitigated=said["mitigating"],
            justified=said["justifying"],
            destitute=said["destitute"],
        )


def test_the_rules_of_the_code():
    theft = law.OFFENCES[1]
    plain = {"aggravated": False, "mitigated": False, "justified": False, "destitute": False}
    assert law.ruling(theft, **plain) == (
        "Guilty of theft under Article 2. Fine of 30 crowns and 2 months in custody. Costs borne by the defendant."
    )
    assert "60 crowns and 2 months" in law.ruling(theft, **{**plain, "aggravated": True})
    assert "30 crowns and no custody" in law.ruling(theft, **{**plain, "mitigated": True})
    assert law.ruling(theft, **{**plain, "destitute": True}).endswith("Costs borne by the crown.")
    assert law.ruling(theft, **{**plain, "justified": True, "aggravated": True}) == (
        "Not guilty of theft under Article 2. No penalty. Costs borne by the crown."
    )
    assert "1 month in" in law.ruling(law.OFFENCES[0], **plain)
