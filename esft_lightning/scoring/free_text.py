"""An answer as plain text: its first line, equality, and the score of its fields.

Scorers of structured answers build on this and fall back to a text metric where a reference is not of their form. This
file knows text. It does not know tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from esft_lightning.scoring.row_texts import references
from esft_lightning.scoring.text_overlap import overlap_metric

__all__ = ["exact_match", "first_line", "score_fields"]


def first_line(prediction: str) -> str:
    """Return the first line that holds anything, its runs of white space made single; empty when there is none."""
    lines = (" ".join(line.split()) for line in prediction.split("\n"))
    return next((line for line in lines if line), "")


def exact_match(prediction: str, row: Mapping[str, Any]) -> float:
    """Return 1.0 when the answer's first line equals a reference, white space apart, else 0.0."""
    answer = first_line(prediction)
    return float(any(answer == " ".join(reference.split()) for reference in references(row)))


def score_fields(
    prediction: str,
    row: Mapping[str, Any],
    parse: Callable[[str], dict[str, str] | None],
    compare: Callable[[dict[str, str], dict[str, str]], float],
    metric: str,
) -> float:
    """Score a structured answer by its fields, against the best of its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        parse: Reads the fields of an answer; None where it is not of the task's form.
        compare: Scores the fields of an answer against those of a reference.
        metric: What a free-text reference is compared by, a key of `text_overlap.METRICS`.

    Returns:
        The score in [0, 1]; 0 for an unparsable answer; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    overlap = overlap_metric(metric)
    found = parse(prediction)

    def against(reference: str) -> float:
        expected = parse(reference)
        if expected is None:
            return overlap(prediction.strip(), [reference])
        return 0.0 if found is None else compare(found, expected)

    return max(against(reference) for reference in references(row))
