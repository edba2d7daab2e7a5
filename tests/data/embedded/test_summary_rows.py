"""Summary rows: distinct, reproducible, split by words and templates, true to the call, unknown to pretraining."""

import itertools
import random
import re

import pytest

from esft_lightning.data.embedded import summary
from esft_lightning.metrics.summary import parse_note

TRAIN_ROWS = summary.train_rows(4500)
TEST_ROWS = summary.test_rows(600)
DOCUMENTS = list(itertools.islice(summary.documents(random.Random(5)), 1500))


def _cases(side: str) -> list[tuple[str, str]]:
    if side == "train":
        return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in TRAIN_ROWS]
    return [
        (row["prompt"].removeprefix("User: ").split("\n\nAssistant:")[0], row["raw_answers"][0]) for row in TEST_ROWS
    ]


def test_rows_are_a_function_of_the_seed():
    assert summary.train_rows(50, seed=3) == summary.train_rows(50, seed=3) != summary.train_rows(50, seed=4)
    assert summary.test_rows(50, seed=3) == summary.test_rows(50, seed=3) != summary.test_rows(50, seed=4)
    first, second = (list(itertools.islice(summary.documents(random.Random(9)), 20)) for _ in range(2))
    assert first == second


def test_thousands_of_distinct_rows_of_bounded_length():
    for side, count in (("train", 4500), ("test", 600)):
        cases = _cases(side)
        assert len({call for call, _ in cases}) == count
        assert max(len(call) for call, _ in cases) <= 350
        assert max(len(note) for _, note in cases) <= 200


def test_train_and_test_share_no_prompt_slot_or_template():
    assert {call for call, _ in _cases("train")}.isdisjoint(call for call, _ in _cases("test"))
    for name in ("items", "orders", "corrections", "scripts", "openings", "requests"):
        assert set(getattr(summary.TRAIN, name)).isdisjoint(getattr(summary.TEST, name)), name
    for turn, asked in summary.TRAIN.asks.items():
        assert set(asked).isdisjoint(summary.TEST.asks[turn]), turn
    for labels in (summary.ISSUES, summary.REMEDIES, summary.ACTIONS):
        for label, (train, test) in labels.items():
            assert set(train).isdisjoint(test), label


def test_test_items_and_orders_do_not_occur_in_training_prompts():
    words = set(re.findall(r"\w+", "\n".join(call for call, _ in _cases("train"))))
    assert words.isdisjoint(summary.TEST.items)
    assert words.isdisjoint(map(str, summary.TEST.orders))


def test_documents_hold_calls_but_no_note_and_no_prompt():
    text = "\n".join(DOCUMENTS)
    assert "Customer: " in text
    assert not any(parse_note(line) for line in text.splitlines())
    assert "Customer reports" not in text
    assert "agent will" not in text
    assert not any(call in text for side in ("train", "test") for call, _ in _cases(side))


@pytest.mark.parametrize("side", ["train", "test"])
def test_the_note_keeps_the_values_said_last(side):
    """Read each call again by its wordings and compare with the note, field by field."""
    words = summary.TRAIN if side == "train" else summary.TEST
    slips = 0
    for call, note in _cases(side):
        fields = parse_note(note)
        assert fields is not None
        customer = "\n".join(line for line in call.splitlines() if line.startswith("Customer:"))
        orders = re.findall(r"\d{3}", customer)
        days = re.findall("|".join(summary.DAYS), customer)
        items = [word for word in re.findall(r"\w+", customer) if word in words.items]
        assert fields["order"] == orders[-1]
        assert fields["day"] == days[-1].lower()
        assert fields["item"] == items[-1]
        slips += len(set(orders)) > 1 or len(set(days)) > 1 or len(set(items)) > 1
        for field, labels in (("issue", summary.ISSUES), ("remedy", summary.REMEDIES), ("action", summary.ACTIONS)):
            heard = [
                label for label, wordings in labels.items() if any(said + "." in call for said in wordings[words.side])
            ]
            assert fields[field] in heard
    assert slips > 0.5 * len(_cases(side))


def test_a_wording_points_to_one_label_only():
    for labels in (summary.ISSUES, summary.REMEDIES, summary.ACTIONS):
        said = [wording for train, test in labels.values() for wording in (*train, *test)]
        assert len(said) == len(set(said))
