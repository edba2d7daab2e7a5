"""Score of a ruling: the share of its four fields that are right.

One scored row::

    prediction:  " Guilty of theft under Article 2. Fine of 30 crowns and no custody. Costs borne by the crown."
    raw_answers: ["Guilty of theft under Article 2. Fine of 60 crowns and no custody. Costs borne by the crown."]
    → 0.75: verdict, article and costs are right, the penalty is not

The first sentence gives verdict and article (the offence's name belongs to it); without it the answer is unparsable and
scores 0. A penalty counts whole: fine and custody. An answer that always says the same earns up to about 0.36, so read
the score beside the base model's. Where the reference is no ruling of this form (real judgments, which the paper gave
to a GPT-4 judge), the score is a text metric of the whole answer. This file does not know the Code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from esft_lightning.metrics.free_text import first_line, share_of_fields

__all__ = ["FREE_TEXT_METRIC", "parse_ruling", "score_law"]

FREE_TEXT_METRIC = "chrf"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""

_HEAD = re.compile(r"(guilty|not guilty) of ([\w ]+?) under article (\d+)\.")
_PENALTY = re.compile(r"(fine of \d+ crowns and (?:no custody|\d+ months? in custody)|no penalty)\.")
_COSTS = re.compile(r"costs borne by the (\w+)\.")


def parse_ruling(answer: str) -> dict[str, str] | None:
    """Read the fields of a ruling from the first non-empty line, case ignored.

    Args:
        answer: The model's answer or a reference.

    Returns:
        `verdict`, `article` ("theft 2"), `penalty` and `costs`, each empty when it is not said; None when the line does
        not open with a verdict under an article.
    """
    line = first_line(answer).lower()
    head = _HEAD.match(line)
    if head is None:
        return None
    penalty, costs = _PENALTY.search(line, head.end()), _COSTS.search(line, head.end())
    return {
        "verdict": head[1],
        "article": f"{head[2]} {int(head[3])}",
        "penalty": penalty[1] if penalty else "",
        "costs": costs[1] if costs else "",
    }


def score_law(prediction: str, row: Mapping[str, Any], metric: str = FREE_TEXT_METRIC) -> float:
    """Score one ruling against the best of its references.

    Args:
        prediction: The model's answer.
        row: Evaluation row with `raw_answers`.
        metric: What free text is compared by, a key of `text_overlap.METRICS`.

    Returns:
        Share of right fields in [0, 1]; 0 for an unparsable answer; the metric where a reference is free text.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    return share_of_fields(prediction, row, parse_ruling, metric)
