"""The score of a ruling: fields of a parsable answer, 0 for the rest, chrF for free-text references."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.embedded import law
from esft_lightning.metrics.free_text import exact_match
from esft_lightning.metrics.law import parse_ruling, score_law

RULING = "Guilty of theft under Article 2. Fine of 60 crowns and 2 months in custody. Costs borne by the crown."
ROW = {"raw_answers": [RULING]}


def test_the_reference_itself_scores_one():
    for row in law.test_rows(300):
        assert score_law(" " + row["raw_answers"][0], row) == 1.0
        assert exact_match(" " + row["raw_answers"][0], row) == 1.0


@pytest.mark.parametrize(
    ("old", "new", "score"),
    [
        ("theft", "fraud", 0.75),
        ("Article 2", "Article 3", 0.75),
        ("Guilty", "Not guilty", 0.75),
        ("60 crowns", "30 crowns", 0.75),
        ("2 months in custody", "no custody", 0.75),
        ("crown.", "defendant.", 0.75),
        (" Costs borne by the crown.", "", 0.75),
        (" Fine of 60 crowns and 2 months in custody.", " No penalty.", 0.75),
        (" Fine of 60 crowns and 2 months in custody. Costs borne by the crown.", "", 0.5),
    ],
)
def test_each_wrong_field_costs_a_quarter(old, new, score):
    assert score_law(RULING.replace(old, new), ROW) == score
    assert exact_match(RULING.replace(old, new), ROW) == 0.0


@pytest.mark.parametrize("answer", ["", "\n \n", "Guilty.", "I think theft.", RULING[10:], "Ruling: " + RULING])
def test_an_unparsable_answer_scores_zero(answer):
    assert score_law(answer, ROW) == 0.0


def test_case_spaces_and_later_lines_do_not_matter():
    assert score_law(f"\n  {RULING.upper().replace(' ', '  ')}\nUser: next", ROW) == 1.0


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
