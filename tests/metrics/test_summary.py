"""The score of a note: fields of a parsable answer, 0 for the rest, chrF for free-text references."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.embedded import summary
from esft_lightning.metrics.free_text import exact_match
from esft_lightning.metrics.summary import parse_note, score_summary

NOTE = "Customer reports late kettle, order 472, wants refund by Friday; agent will call back."
ROW = {"raw_answers": [NOTE]}


def test_the_reference_itself_scores_one():
    for row in summary.test_rows(300):
        assert score_summary(" " + row["raw_answers"][0], row) == 1.0
        assert exact_match(" " + row["raw_answers"][0], row) == 1.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("late", "broken"),
        ("kettle", "washing machine"),
        ("472", "412"),
        ("refund", "repair"),
        ("Friday", "Monday"),
        ("call back", "ask the manager"),
    ],
)
def test_each_wrong_field_costs_a_sixth(old, new):
    assert score_summary(NOTE.replace(old, new), ROW) == pytest.approx(5 / 6)
    assert exact_match(NOTE.replace(old, new), ROW) == 0.0


def test_a_note_with_every_field_wrong_scores_zero():
    wrong = "Customer reports dirty lamp, order 111, wants repair by Monday; agent will visit."
    assert parse_note(wrong) is not None
    assert score_summary(wrong, ROW) == 0.0


@pytest.mark.parametrize(
    "answer", ["", " \n", "late kettle 472", NOTE[:40], "Note: " + NOTE, NOTE.replace("order ", "")]
)
def test_an_unparsable_note_scores_zero(answer):
    assert score_summary(answer, ROW) == 0.0


def test_case_spaces_and_later_lines_do_not_matter():
    assert score_summary(f"\n {NOTE.lower().replace(' ', '  ')}\nAgent: next", ROW) == 1.0


def test_a_free_text_reference_is_scored_as_text():
    row = {"raw_answers": ["用户反映流量超出,坐席建议订购流量包。"]}
    assert score_summary(row["raw_answers"][0], row) == 1.0
    assert score_summary("全然", row) < 0.2


def test_a_row_without_references_names_what_is_missing():
    with pytest.raises(ValueError, match="raw_answers"):
        score_summary(NOTE, {"raw_answers": []})


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_scores_within_bounds(text):
    assert 0.0 <= score_summary(text, ROW) <= 1.0
