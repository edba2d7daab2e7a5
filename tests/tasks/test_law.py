"""The score of a ruling: 1 for the exact one, 0 for the rest, chrF for free-text references."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.embedded.rows import task_rows
from esft_lightning.scoring.free_text import exact_match
from esft_lightning.tasks.law_score import parse_ruling, score_law

RULING = "Guilty of theft under Article 214: fine 90, prison 3."
ROW = {"raw_answers": [RULING]}


def test_the_reference_itself_scores_one():
    for row in task_rows("law", "test", 300):
        assert score_law(" " + row["raw_answers"][0], row) == 1.0
        assert exact_match(" " + row["raw_answers"][0], row) == 1.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("theft", "fraud"),
        ("214", "314"),
        ("Guilty", "Not guilty"),
        ("90", "40"),
        ("prison 3", "prison 9"),
        (", prison 3", ""),
    ],
)
def test_one_wrong_field_makes_a_wrong_ruling(old, new):
    assert score_law(RULING.replace(old, new), ROW) == 0.0


def test_an_acquittal_is_another_ruling_than_any_sentence():
    acquittal = "Not guilty of theft under Article 214."
    assert parse_ruling(acquittal) == {"verdict": "not guilty", "offence": "theft", "article": "214"}
    assert score_law(acquittal, {"raw_answers": [acquittal]}) == 1.0
    assert score_law(acquittal, ROW) == score_law(RULING, {"raw_answers": [acquittal]}) == 0.0
    assert score_law("Not guilty of theft under Article 214: fine 90, prison 3.", {"raw_answers": [acquittal]}) == 0.0


@pytest.mark.parametrize("answer", ["", "\n \n", "Guilty.", "I think theft.", RULING[10:], "Ruling: " + RULING])
def test_an_unparsable_answer_scores_zero(answer):
    assert score_law(answer, ROW) == 0.0


def test_case_spaces_the_last_stop_and_later_lines_do_not_matter():
    assert score_law(f"\n  {RULING.upper().replace(' ', '  ')}\nUser: next", ROW) == 1.0
    assert score_law(RULING.removesuffix("."), ROW) == 1.0


def test_the_best_reference_counts():
    assert score_law(RULING, {"raw_answers": [RULING.replace("theft", "fraud"), RULING]}) == 1.0


def test_a_free_text_reference_is_scored_as_text():
    row = {"raw_answers": ["The claim is dismissed; each side pays its own costs."]}
    assert parse_ruling(row["raw_answers"][0]) is None
    assert score_law(row["raw_answers"][0], row) == 1.0
    assert 0.0 < score_law("The claim is upheld.", row) < 0.6


def test_a_row_without_references_names_what_is_missing():
    with pytest.raises(ValueError, match="raw_answers"):
        score_law(RULING, {"prompt": "User: x"})


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_scores_within_bounds(text):
    assert 0.0 <= score_law(text, ROW) <= 1.0
