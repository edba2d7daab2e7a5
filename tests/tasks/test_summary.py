"""The score of a note: what had to be understood, in a note about the right order; ROUGE-L for free-text references."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.embedded.rows import task_rows
from esft_lightning.scoring.free_text import exact_match
from esft_lightning.tasks.summary_score import parse_note, score_summary

NOTE = "Order 4137, Velto kettle: leaking. Wanted: repair by Friday. Next: ask the manager."
ROW = {"raw_answers": [NOTE]}


def test_the_reference_itself_scores_one():
    for row in task_rows("summary", "test", 300):
        assert score_summary(" " + row["raw_answers"][0], row) == 1.0
        assert exact_match(" " + row["raw_answers"][0], row) == 1.0


@pytest.mark.parametrize(
    ("old", "new", "score"),
    [
        ("leaking", "broken", 2 / 3),
        ("repair", "refund", 2 / 3),
        ("ask the manager", "visit", 2 / 3),
        ("leaking. Wanted: repair", "broken. Wanted: refund", 1 / 3),
        ("Velto kettle", "Zinba lamp", 1.0),
        ("Friday", "Monday", 1.0),
        ("4137", "4131", 0.0),
    ],
)
def test_each_label_is_a_third_what_is_copied_nothing_and_another_order_another_note(old, new, score):
    assert score_summary(NOTE.replace(old, new), ROW) == pytest.approx(score)
    assert exact_match(NOTE.replace(old, new), ROW) == 0.0


@pytest.mark.parametrize(
    "answer", ["", " \n", "leaking kettle 4137", NOTE[:40], "Note: " + NOTE, NOTE.replace("Order ", "")]
)
def test_an_unparsable_note_scores_zero(answer):
    assert score_summary(answer, ROW) == 0.0


def test_case_spaces_and_later_lines_do_not_matter():
    assert score_summary(f"\n {NOTE.lower().replace(' ', '  ')}\nAgent: next", ROW) == 1.0


def test_a_free_text_reference_is_scored_as_text():
    row = {"raw_answers": ["用户反映流量超出,坐席建议订购流量包。"]}
    assert parse_note(row["raw_answers"][0]) is None
    assert score_summary(row["raw_answers"][0], row) == 1.0
    assert score_summary("全然", row) < 0.2


def test_a_row_without_references_names_what_is_missing():
    with pytest.raises(ValueError, match="raw_answers"):
        score_summary(NOTE, {"raw_answers": []})


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_scores_within_bounds(text):
    assert 0.0 <= score_summary(text, ROW) <= 1.0
