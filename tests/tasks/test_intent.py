"""The intent metric: the official rule, line by line, and the authors' own completions."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esft_lightning.tasks.intent_score import score_intent

REFERENCE = '{"intent": "Play", "slots": {"song": "blue", "by": ["b", "a"]}}'
ROW = {"raw_answers": [REFERENCE]}


def test_the_authors_completions_get_the_scores_that_the_authors_published(reference_data: Path) -> None:
    path = reference_data / "esft/completions/gate/intent.jsonl"
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    scores = [score_intent(row["example"]["raw_prediction"], row["example"]) for row in rows]
    assert scores == [float(row["score"]) for row in rows]
    assert len(scores) == 500
    assert sum(scores) / 500 == pytest.approx(0.800)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        (REFERENCE, 1.0),
        (f" {REFERENCE}。\n\n", 1.0),
        (f"\n{REFERENCE}.\nand more text", 1.0),
        (f"Here:\n```json\n{REFERENCE}\n```\nDone.", 1.0),
        (f"```json\n{REFERENCE}", 0.0),  # a fence that never closes
        ('{"slots": {"by": ["a", "b"], "song": "b l ue"}, "intent": "Play"}', 1.0),
        ('{"intent": "Play", "slots": {"song": "blue"}}', 0.0),
        ('{"intent": "Play", "slots": {"song": "blue", "by": ["a", "b"], "x": "y"}}', 0.0),
        ('{"intent": "play", "slots": {"song": "blue", "by": ["a", "b"]}}', 0.0),
        ('{"intent": "Play", "slots": {"song": "blue", "by": "a"}}', 0.0),
        ('{"intent": "Play", "slots": {"song": 3, "by": ["a", "b"]}}', 0.0),
        ('{"intent": "Play", "slots": ["song"]}', 0.0),
        ('["Play"]', 0.0),
        ("Play", 0.0),
        ("", 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_the_rule_line_by_line(prediction: str, score: float) -> None:
    assert score_intent(prediction, ROW) == score


def test_spaces_are_deleted_in_the_prediction_only() -> None:
    row = {"raw_answers": ['{"intent": "Play", "slots": {"song": "bang bang"}}']}
    assert score_intent(row["raw_answers"][0], row) == 0.0


@given(st.text(max_size=80))
def test_no_text_makes_the_scorer_fail(text: str) -> None:
    assert score_intent(text, ROW) == 0.0
    assert score_intent(REFERENCE + "\n" + text, ROW) in (0.0, 1.0)


def test_a_broken_reference_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match=r"raw_answers\[0\] is no intent reference: 'Play'"):
        score_intent(REFERENCE, {"raw_answers": ["Play"]})
