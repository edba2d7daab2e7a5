"""The validation split: a seeded share, and no conversation on both sides."""

import logging
import random

import pytest
from chat_rows import chat, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.rows import ChatRow
from esft_lightning.data.split import conversation_key, set_aside, unlike
from esft_lightning.tasks import LawDataModule


def rows_of(*questions: str) -> list[ChatRow]:
    return [ChatRow(chat(question, "yes")["messages"], f"r:{n}") for n, question in enumerate(questions)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=60), st.floats(0, 0.9), st.integers(0, 5))
def test_no_conversation_trains_and_validates_and_no_more_than_the_share_validates(names, fraction, seed):
    rows = rows_of(*(f"question {n}" for n in names))
    aside = set_aside(rows, fraction, seed)
    assert not {names[n] for n in aside} & {names[n] for n in range(len(names)) if n not in aside}
    assert len(aside) <= max(1, round(len(rows) * fraction))
    assert aside == set_aside(rows, fraction, seed)


def test_rows_without_duplicates_give_exactly_the_share():
    rows = rows_of(*(f"question {n}" for n in range(200)))
    for fraction, count in ((0.02, 4), (0.001, 1), (0.5, 100), (0, 0)):
        assert len(set_aside(rows, fraction, 3)) == count
    assert set_aside(rows, 0.02, 3) != set_aside(rows, 0.02, 4)


def test_few_duplicates_cost_few_rows():
    questions = [f"question {n}" for n in range(300)] + [f"Question  {n}." for n in range(100)]
    random.Random(0).shuffle(questions)
    rows = rows_of(*questions)
    aside = set_aside(rows, 0.1, 0)
    assert 38 <= len(aside) <= 40
    kept = [row for n, row in enumerate(rows) if n not in aside]
    assert unlike(kept, [rows[n] for n in aside]) == kept


def test_case_and_spacing_make_no_other_conversation_and_another_answer_does():
    one, two, three = rows_of("Is it?", " is  it", "is it not")
    assert conversation_key(one) == conversation_key(two) != conversation_key(three)
    answered = ChatRow(chat("Is it?", "no")["messages"], "x")
    assert conversation_key(answered) != conversation_key(one)


def test_a_file_that_repeats_a_few_conversations_trains_whole_and_it_is_said(
    tmp_path, tokenizer_folder, caplog: pytest.LogCaptureFixture
):
    path = write_jsonl(tmp_path / "rows.jsonl", [chat(f"say {n % 7}", f"{n % 7}") for n in range(140)])
    data = LawDataModule("files", train_files=str(path), tokenizer=tokenizer_folder, cache_dir=None)
    with caplog.at_level(logging.WARNING, "esft_lightning"):
        data.setup("fit")
    assert data.report["train_rows"] == 140 and data.val_dataloader() == []
    assert "nothing validates" in caplog.text and "raise val_fraction" in caplog.text
