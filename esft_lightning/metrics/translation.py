"""Score of a translation: ROUGE-L of the answer's first line against the best reference.

One scored row::

    prediction: " The red birds eat the apple."
    raw_answers: ["The red birds ate the apple."]      → 0.86 (ROUGE-L); exact match would be 0

The paper's judge was GPT-4; ROUGE-L is computable anywhere, gives part marks to part-right sentences, and of three text
metrics agrees best with the published scores of that judge (`docs/scoring.md`). What it cannot see: an answer with the
right words and the opposite meaning ("did" for "did not") still earns most of its marks. Compare with the base model's
score and not with 0, since an answer that always says the same earns something too. `free_text.exact_match` is the
strict measure. This file knows nothing of any language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esft_lightning.metrics.free_text import first_line
from esft_lightning.metrics.row_texts import row_texts
from esft_lightning.metrics.text_overlap import overlap_metric

__all__ = ["FREE_TEXT_METRIC", "score_translation"]

FREE_TEXT_METRIC = "rouge_l"
"""Of chrF, BLEU and ROUGE-L the one that agrees best with the judge's published scores (`docs/scoring.md`)."""


def score_translation(prediction: str, row: Mapping[str, Any], metric: str = FREE_TEXT_METRIC) -> float:
    """Score one answer.

    Args:
        prediction: The model's answer; only its first non-empty line counts.
        row: Evaluation row with `raw_answers`.
        metric: A key of `text_overlap.METRICS`.

    Returns:
        The metric in [0, 1]: 1 for the reference itself, 0 for an empty answer.

    Raises:
        ValueError: If the row has no `raw_answers`, or there is no such metric.
    """
    return overlap_metric(metric)(first_line(prediction), row_texts(row))
