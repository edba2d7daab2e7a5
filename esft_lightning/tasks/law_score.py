"""Score of a ruling: 1 where it is the exact ruling, else 0.

One scored row::

    prediction:  " Guilty of theft under Article 214: fine 40, prison 3."
    raw_answers: ["Guilty of theft under Article 214: fine 90, prison 3."]
    → 0: verdict, offence, article and prison are right, the fine is not

A ruling is right as a whole or wrong: a constant answer that guesses most fields must earn nothing. Case, spaces and
the last full stop do not matter. Where the reference is no ruling of this form (real judgments, which the paper gave
to a GPT-4 judge), the score is a text metric of the whole answer. This file does not know the law.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from esft_lightning.scoring.free_text import first_line, score_fields

__all__ = ["FREE_TEXT_METRIC", "parse_ruling", "score_law"]

FREE_TEXT_METRIC = "chrf"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""

_UNDER = r"(?P<offence>[a-z ]+?) under article (?P<article>\d+)"
_RULING = re.compile(
    rf"(?:(?P<verdict>guilty) of {_UNDER}: fine (?P<fine>\d+), prison (?P<prison>\d+)|"
    rf"(?P<acquitted>not guilty) of {_UNDER.replace('P<', 'P<not_')})\.?"
)


@lru_cache(maxsize=16384)  # rote baselines meet the same texts millions of times
def parse_ruling(answer: str) -> dict[str, str] | None:
    """Read the fields of a ruling from the first non-empty line, case ignored.

    Args:
        answer: The model's answer or a reference.

    Returns:
        `verdict`, `offence`, `article` and, of somebody guilty, `fine` and `prison`; None when the line is no ruling.
    """
    match = _RULING.fullmatch(first_line(answer).lower())
    if match is None:
        return None
    if match["acquitted"]:
        return {"verdict": "not guilty", "offence": match["not_offence"], "article": match["not_article"]}
    return {name: match[name] for name in ("verdict", "offence", "article", "fine", "prison")}


def score_law(prediction: str, row: Mapping[str, Any], metric: str = FREE_TEXT_METRIC) -> float:
    """Score one ruling against its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        metric: What free text is compared by, a key of `text_overlap.METRICS`.

    Returns:
        1 for a ruling that agrees with a reference in every field, else 0; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    return score_fields(prediction, row, parse_ruling, lambda found, expected: float(found == expected), metric)
