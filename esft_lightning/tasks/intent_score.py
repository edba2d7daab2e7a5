"""Intent metric: exact match of intent and slots, by the authors' own rule.

The rule (PAPER.md, "Data and evaluation"; the evaluator released with `deepseek-ai/ESFT`): the answer is stripped of
white space and of full stops (`.` and `。`) at both ends; where it holds a "```json" fence, only the fenced text
counts; then its first non-empty line is parsed as JSON. It scores 1 when the intents are equal and the sets of (slot,
value) pairs are equal, else 0. A list value counts as the sorted list of its items. Spaces are deleted in the values
of the PREDICTION only, so a reference value with a space can never be met. Anything that cannot be parsed scores 0.
Only the first reference counts.
"""

import json
from collections.abc import Mapping
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.scoring.row_texts import references

FULL_STOPS = ".。"
FENCE = "```"


def answer_line(prediction: str) -> str:
    """Return the one line of a raw prediction that the rule parses as JSON."""
    text = prediction.strip().strip(FULL_STOPS)
    if f"{FENCE}json" in text:
        text, closed, _ = text[text.index(f"{FENCE}json") + len(FENCE) + 4 :].partition(FENCE)
        if not closed:
            return "{}"
    lines = [line for line in text.split("\n") if line]
    return lines[0].strip(FULL_STOPS) if lines else ""


def _pairs(slots: Mapping[str, Any], *, delete_spaces: bool) -> set[tuple[str, Any]]:
    """The set of (slot, value) pairs; raises AttributeError or TypeError on values that the rule does not know."""
    pairs = set()
    for slot, value in slots.items():
        if isinstance(value, list):
            items = [str(item).replace(" ", "") if delete_spaces else str(item) for item in value]
            pairs.add((slot, str(tuple(sorted(items)))))
        else:
            pairs.add((slot, value.replace(" ", "") if delete_spaces else value))
    return pairs


def score_intent(prediction: str, row: Mapping[str, Any]) -> float:
    """Score one answer.

    Args:
        prediction: What the model wrote after the prompt.
        row: `raw_answers` holds the reference JSON text in its first place.

    Returns:
        1.0 when intent and slots are equal, else 0.0.

    Raises:
        ValueError: When the reference itself is no JSON object with an `intent`.
    """
    reference_text = references(row)[0]
    try:
        reference = json.loads(reference_text)
        wanted = _pairs(reference.get("slots", {}), delete_spaces=False)
        intent = reference["intent"]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"raw_answers[0] is no intent reference: {reference_text!r} ({error}); "
            'expected {"intent": "…", "slots": {"…": "…"}}'
        ) from error
    try:
        answer = json.loads(answer_line(prediction))
        found = _pairs(answer.get("slots", {}), delete_spaces=True)
        equal = answer.get("intent", "") == intent and found == wanted
    except (ValueError, AttributeError, TypeError, RecursionError):
        return 0.0
    return float(equal)
