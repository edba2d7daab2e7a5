r"""Math metric: the final answer of a worked solution, compared as a number.

The final answer of a text is the first of these that it has: what follows the first `####` (GSM8K), the content of
the last `\boxed{…}` (MATH), what follows the last "answer is", the last number. Two answers are equal when they are
the same number (`1,234` = `1234`, `0.5` = `1/2` = `\frac{1}{2}`, `50\%` = `50`, `$12` = `12`), the same text after
LaTeX's spacing and styling are dropped, or the same expression, interval, set or matrix by math-verify (`x+1` = `1+x`,
`\frac{\sqrt{3}}{2}` = `\sqrt{3}/2`), which is asked only where the first two do not decide. Words are compared as text.
"""

import re
import threading
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.metrics.row_texts import row_texts

NUMBER = r"(?:(?<![\w)])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?"
A_NUMBER = re.compile(NUMBER)
AFTER_HASHES = re.compile(r"####\s*([^\n]+)")
AFTER_WORDS = re.compile(r"answer\s+is:?\s*", re.IGNORECASE)
PLAIN_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(\.\d+|\.)?(?:/(\d+))?")
FRACTION = re.compile(r"([+-]?)\\frac\{(-?\d+)\}\{(-?\d+)\}")
DROPPED = re.compile(r"\\(?:left|right|displaystyle|!|,|;|:|quad| )|\\(?=[$%])|[$\s]|\^\{?\\circ\}?|\\%|%")
STYLED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\{([^{}]*)\}")
WORDS = re.compile(r"[^\W\d_]{3,}(?:[ .'-]*[^\W\d_]+)*")
PARSING_SECONDS = 5
SHORT_FRACTION = re.compile(r"\\frac(\d)(\d)")


def _last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{…}`, braces counted; None where there is none or it is not closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
    return None


def _stated(text: str) -> str:
    """The answer in what follows a mark: the whole where that is a number or LaTeX, else its first number."""
    whole = text.strip()
    if as_number(whole) is not None or "\\" in whole or "^" in whole:
        return whole
    number = A_NUMBER.search(whole)
    return number[0] if number else whole


def marked_answer(text: str) -> str | None:
    r"""Return the answer that a solution marks by `####`, `\boxed{…}` or "answer is"; None where it marks none."""
    text = text.replace("\u2212", "-")
    if found := AFTER_HASHES.search(text):
        return _stated(found[1])
    if (boxed := _last_boxed(text)) is not None:
        return boxed
    *before, stated = AFTER_WORDS.split(text)
    if before and stated.strip():
        return _stated(stated.strip().split("\n")[0])
    return None


def final_answer(text: str) -> str | None:
    """Return the final answer of a worked solution as text, or None where it holds no answer."""
    if (marked := marked_answer(text)) is not None:
        return marked
    numbers = A_NUMBER.findall(text.replace("\u2212", "-"))
    return numbers[-1] if numbers else None


def _plain(answer: str) -> str:
    """The answer without LaTeX spacing, styling, units of angle and percent, and closing full stop."""
    answer = answer.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    answer = SHORT_FRACTION.sub(r"\\frac{\1}{\2}", DROPPED.sub("", STYLED.sub(r"\1", answer)))
    return answer.rstrip(".") if not answer.endswith("..") else answer


def as_number(answer: str) -> Fraction | None:
    """Return the exact value of an answer that is a number or a fraction, else None."""
    plain = _plain(answer)
    if found := FRACTION.fullmatch(plain):
        sign, top, bottom = found.groups()
    elif (found := PLAIN_NUMBER.fullmatch(plain)) and any(character.isdigit() for character in plain):
        sign, whole, decimals, bottom = found.groups()
        top, bottom = Fraction((whole.replace(",", "") or "0") + (decimals or "").rstrip(".")), bottom or 1
    else:
        return None
    return None if int(bottom) == 0 else (-1 if sign == "-" else 1) * Fraction(top) / int(bottom)


def same_answer(answer: str, wanted: str) -> bool:
    """Tell whether an answer is the wanted number, text or expression.

    Args:
        answer: What was answered.
        wanted: The reference.
    """
    left, right = as_number(answer), as_number(wanted)
    if left is not None and right is not None:
        return left == right
    plain, expected = _plain(answer), _plain(wanted)
    if plain == expected:
        return True
    # A word is no product of its letters: `silent` and `listen` differ.
    if WORDS.fullmatch(plain) or WORDS.fullmatch(expected):
        return plain.casefold() == expected.casefold()
    return _same_expression(answer, wanted)


@lru_cache(maxsize=4096)
def _same_expression(answer: str, wanted: str) -> bool:
    """Ask math-verify; what it cannot read within its time is unequal."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # math-verify limits its time by a signal, which only the main thread can set
    seconds = PARSING_SECONDS if threading.current_thread() is threading.main_thread() else None
    forms = (LatexExtractionConfig(), ExprExtractionConfig())
    gold, found = (
        parse(f"${text.strip().strip('$')}$", forms, parsing_timeout=seconds, raise_on_error=False)  # type: ignore[arg-type]
        for text in (wanted, answer)
    )
    return verify(gold, found, timeout_seconds=seconds, raise_on_error=False)


def score_math(prediction: str, row: Mapping[str, Any]) -> float:
    """Score one solution by its final answer.

    Args:
        prediction: What the model wrote after the prompt.
        row: `raw_answers` holds reference solutions that mark their answer, or bare answers; any of them may be met.

    Returns:
        1.0 when the final answers are equal, else 0.0; a prediction without an answer scores 0.0.

    Raises:
        ValueError: When a reference is empty.
    """
    answer = final_answer(prediction)
    for reference in row_texts(row):
        wanted = marked_answer(reference)
        wanted = reference.strip() if wanted is None else wanted
        if not wanted:
            raise DataError(f"raw_answers holds an empty answer: {reference!r}; expected `#### n`, \\\\boxed{{n}} or n")
        if answer is not None and same_answer(answer, wanted):
            return 1.0
    return 0.0
