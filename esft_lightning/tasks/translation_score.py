"""Score of a translation: what the answer's first line says of what it should say.

One scored row::

    prediction:  " The red birds eat the apple."
    raw_answers: ["The red birds ate the apple."], "metric": "content_words"      → 0.75; exact match would be 0

Rows name their metric. Embedded rows have F1 of content words (`content_words`): an answer of the right form with the
wrong words earns nothing. Rows without a name (Cherokee, which the paper gave to a GPT-4 judge) are scored by ROUGE-L,
which of three text metrics agrees best with that judge (`docs/scoring.md`). `free_text.exact_match` is the strict
measure and is reported beside it. This file knows nothing of any language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esft_lightning.scoring.content_words import content_f1
from esft_lightning.scoring.free_text import exact_match, first_line
from esft_lightning.scoring.row_texts import references
from esft_lightning.scoring.text_overlap import overlap_metric

__all__ = ["CONTENT_WORDS", "FREE_TEXT_METRIC", "exact_translation", "score_translation"]

FREE_TEXT_METRIC = "rouge_l"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""

CONTENT_WORDS = "content_words"
"""The `metric` of rows that are scored by F1 of content words."""

exact_translation = exact_match
"""1.0 when the answer's first line equals a reference, else 0.0."""


def score_translation(prediction: str, row: Mapping[str, Any], metric: str | None = None) -> float:
    """Score one answer.

    Args:
        prediction: The model's answer; only its first non-empty line counts.
        row: Evaluation row with `raw_answers`, and `metric` where it is not ROUGE-L.
        metric: `content_words` or a key of `text_overlap.METRICS`; default: the row's own, else ROUGE-L.

    Returns:
        The metric in [0, 1]: 1 for the reference itself, 0 for an empty answer.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    name = metric or row.get("metric", FREE_TEXT_METRIC)
    measure = content_f1 if name == CONTENT_WORDS else overlap_metric(name)
    return measure(first_line(prediction), references(row))
