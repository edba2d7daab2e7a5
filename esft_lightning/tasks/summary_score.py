"""Score of a call note: how much of what had to be understood is right, in a note about the right order.

One scored row::

    prediction:  " Order 4137, Velto kettle: broken. Wanted: repair by Friday. Next: ask the manager."
    raw_answers: ["Order 4137, Velto kettle: leaking. Wanted: repair by Friday. Next: ask the manager."]
    → 0.67: of fault, wish and promise, which callers put into words of their own, two are right

The order is what a note is filed under: with another number it is another call's note and scores 0. Thing and day can
be copied from the call and earn nothing. An answer whose first line is no such note scores 0. Where the reference is
no note of this form (real summaries, which the paper gave to a GPT-4 judge), the score is a text metric of the whole
answer. This file does not know the desk's labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from esft_lightning.scoring.free_text import first_line, score_fields

__all__ = ["FREE_TEXT_METRIC", "UNDERSTOOD", "parse_note", "score_summary"]

FREE_TEXT_METRIC = "rouge_l"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""

UNDERSTOOD = ("fault", "remedy", "action")
"""The fields that count; none stands in the call as it stands in the note."""

_NOTE = re.compile(
    r"order (?P<order>\d+), (?P<item>[^:]+): (?P<fault>[a-z ]+)\. wanted: (?P<remedy>[a-z ]+?) by (?P<day>\w+)\. "
    r"next: (?P<action>[a-z ]+)\.?"
)


@lru_cache(maxsize=16384)  # rote baselines meet the same texts millions of times
def parse_note(answer: str) -> dict[str, str] | None:
    """Read the fields of a note from the first non-empty line, case ignored.

    Args:
        answer: The model's answer or a reference.

    Returns:
        `order`, `item`, `fault`, `remedy`, `day` and `action`; None when the line is not a note.
    """
    match = _NOTE.fullmatch(first_line(answer).lower())
    return match.groupdict() if match else None


def _understood(found: dict[str, str], expected: dict[str, str]) -> float:
    if found["order"] != expected["order"]:
        return 0.0
    return sum(found[field] == expected[field] for field in UNDERSTOOD) / len(UNDERSTOOD)


def score_summary(prediction: str, row: Mapping[str, Any], metric: str = FREE_TEXT_METRIC) -> float:
    """Score one note against the best of its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        metric: What free text is compared by, a key of `text_overlap.METRICS`.

    Returns:
        Share of the fields of `UNDERSTOOD` that are right, 0 for a note about another order and for an unparsable
        answer; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    return score_fields(prediction, row, parse_note, _understood, metric)
