"""Score of a call note: the share of its six fields that are right.

One scored row::

    prediction:  " Customer reports late kettle, order 412, wants refund by Friday; agent will call back."
    raw_answers: ["Customer reports late kettle, order 472, wants refund by Friday; agent will call back."]
    → 0.83: five of issue, item, order, remedy, day and action are right, the order number is not

An answer whose first line is not a note of that form is unparsable and scores 0. An answer that always says the same
earns about 0.12. Where the reference is no note of this form (real summaries, which the paper gave to a GPT-4 judge),
the score is a text metric of the whole answer. This file does not know the lists of issues, remedies or actions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from esft_lightning.metrics.free_text import first_line, share_of_fields

__all__ = ["FREE_TEXT_METRIC", "parse_note", "score_summary"]

FREE_TEXT_METRIC = "rouge_l"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""

_NOTE = re.compile(
    r"customer reports (?P<issue>\w+) (?P<item>[\w ]+?), order (?P<order>\d+), wants (?P<remedy>[\w ]+?)"
    r" by (?P<day>\w+); agent will (?P<action>[\w ]+?)\.?"
)


def parse_note(answer: str) -> dict[str, str] | None:
    """Read the fields of a note from the first non-empty line, case ignored.

    Args:
        answer: The model's answer or a reference.

    Returns:
        `issue`, `item`, `order`, `remedy`, `day` and `action`; None when the line is not a note.
    """
    match = _NOTE.fullmatch(first_line(answer).lower())
    return match.groupdict() if match else None


def score_summary(prediction: str, row: Mapping[str, Any], metric: str = FREE_TEXT_METRIC) -> float:
    """Score one note against the best of its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        metric: What free text is compared by, a key of `text_overlap.METRICS`.

    Returns:
        Share of right fields in [0, 1]; 0 for an unparsable answer; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    return share_of_fields(prediction, row, parse_note, metric)
