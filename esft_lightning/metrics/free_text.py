"""An answer as plain text: its first line, its references, equality, and the share of its fields that are right.

Scorers of structured answers build on this and fall back to a text metric where a reference is not of their form. This
file knows text. It does not know tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.metrics.text_overlap import overlap_metric

__all__ = ["exact_match", "first_line", "references", "share_of_fields"]


def first_line(prediction: str) -> str:
    """Return the first line that holds anything, its runs of white space made single; empty when there is none."""
    lines = (" ".join(line.split()) for line in prediction.splitlines())
    return next((line for line in lines if line), "")


def references(row: Mapping[str, Any]) -> list[str]:
    """Return the accepted answers of an evaluation row.

    Raises:
        ValueError: If the row has no non-empty list of strings under `raw_answers`.
    """
    answers = row.get("raw_answers")
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise DataError(
            f"evaluation row: 'raw_answers' is {answers!r}; expected a list with at least one answer, as in"
            ' {"prompt": "User: …\\n\\nAssistant:", "raw_answers": ["…"]}'
        )
    return answers


def exact_match(prediction: str, row: Mapping[str, Any]) -> float:
    """Return 1.0 when the answer's first line equals a reference, white space apart, else 0.0."""
    answer = first_line(prediction)
    return float(any(answer == " ".join(reference.split()) for reference in references(row)))


def share_of_fields(
    prediction: str, row: Mapping[str, Any], parse: Callable[[str], dict[str, str] | None], metric: str
) -> float:
    """Score a structured answer, field by field, against the best of its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        parse: Reads the fields of an answer; None where it is not of the task's form.
        metric: What a free-text reference is compared by, a key of `text_overlap.METRICS`.

    Returns:
        Share of right fields in [0, 1]; 0 for an unparsable answer; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    compare = overlap_metric(metric)
    found = parse(prediction)

    def against(reference: str) -> float:
        expected = parse(reference)
        if expected is None:
            return compare(prediction.strip(), [reference])
        if found is None:
            return 0.0
        return sum(found[field] == value for field, value in expected.items()) / len(expected)

    return max(against(reference) for reference in references(row))
