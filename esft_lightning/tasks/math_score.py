r"""Math metric: the final answer of a worked solution, compared by value.

Where a solution gives its answer is in `math_extraction`, when two answers are one in `math_equality`; what both are
held to, in `docs/scoring.md`.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.scoring.math_equality import same_answer
from esft_lightning.scoring.math_extraction import final_answer, marked_answer
from esft_lightning.scoring.math_notation import plain
from esft_lightning.scoring.math_quantities import quantity
from esft_lightning.scoring.row_texts import references

__all__ = ["as_number", "final_answer", "marked_answer", "same_answer", "score_math"]


def as_number(answer: str) -> Fraction | None:
    """Return the exact value of an answer that is a number, a unit apart, else None."""
    number = quantity(plain(answer))
    return None if number is None else number.value


def score_math(prediction: str, row: Mapping[str, Any]) -> float:
    """Score one solution by its final answer.

    Args:
        prediction: What the model wrote after the prompt.
        row: `raw_answers` holds reference solutions that mark their answer, or bare answers; any of them may be met.

    Returns:
        1.0 when the final answers are equal, else 0.0; a prediction without an answer scores 0.0.

    Raises:
        ValueError: When a reference is empty, or `raw_answers` is no list of texts.
    """
    answer = final_answer(prediction)
    for reference in references(row):
        wanted = marked_answer(reference)
        wanted = reference.strip() if wanted is None else wanted
        if not wanted:
            raise DataError(f"raw_answers holds an empty answer: {reference!r}; expected `#### n`, \\boxed{{n}} or n")
        if answer is not None and same_answer(answer, wanted):
            return 1.0
    return 0.0
