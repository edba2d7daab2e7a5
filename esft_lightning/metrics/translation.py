"""Score of a translation: sentence chrF of the answer's first line against the best reference.

One scored row::

    prediction: " The red birds eat the apple."
    raw_answers: ["The red birds ate the apple."]      → 0.75 (chrF); exact match would be 0

The paper's judge was GPT-4; chrF is computable anywhere and gives part marks to part-right sentences. What it cannot
see: an answer with the right letters and the opposite meaning ("did" for "did not") still earns most of its marks. An
answer that always says the same earns up to about 0.2, so compare with the base model's score and not with 0.
`free_text.exact_match` is the strict measure. This file knows nothing of any language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esft_lightning.metrics.free_text import chrf, first_line, references

__all__ = ["score_translation"]


def score_translation(prediction: str, row: Mapping[str, Any]) -> float:
    """Score one answer.

    Args:
        prediction: The model's answer; only its first non-empty line counts.
        row: Evaluation row with `raw_answers`.

    Returns:
        chrF in [0, 1]: 1 for the reference itself, 0 for an empty answer.

    Raises:
        ValueError: If the row has no `raw_answers`.
    """
    return chrf(first_line(prediction), references(row))
