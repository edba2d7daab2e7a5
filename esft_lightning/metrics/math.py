r"""Math metric: the final answer of a worked solution, compared as a number.

The final answer of a text is the first of these that it has: what follows the first `####` (GSM8K), the content of
the last `\boxed{…}` (MATH), what follows the last "answer is", the last number. Two answers are equal when they are
the same number (`1,234` = `1234`, `0.5` = `1/2` = `\frac{1}{2}`, `50\%` = `50`, `$12` = `12`) or, where one is no
number, when they are the same text after LaTeX's spacing and styling are dropped. There is no algebra: `x+1` and
`1+x` differ.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

NUMBER = r"(?:(?<![\w)])-)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/\d+)?"
A_NUMBER = re.compile(NUMBER)
AFTER_HASHES = re.compile(r"####\s*([^\n]+)")
AFTER_WORDS = re.compile(r"answer\s+is:?\s*", re.IGNORECASE)
PLAIN_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d*)(\.\d+|\.)?(?:/(\d+))?")
FRACTION = re.compile(r"([+-]?)\\frac\{(-?\d+)\}\{(-?\d+)\}")
DROPPED = re.compile(r"\\(?:left|right|displaystyle|!|,|;|:|quad| )|\\(?=[$%])|[$\s]|\^\{?\\circ\}?|\\%|%")
STYLED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\{([^{}]*)\}")
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


def same_answer(first: str, second: str) -> bool:
    """Tell whether two final answers are the same number or, where one is no number, the same text."""
    left, right = as_number(first), as_number(second)
    if left is not None and right is not None:
        return left == right
    return _plain(first) == _plain(second)


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
    for reference in row["raw_answers"]:
        wanted = marked_answer(reference)
        wanted = reference.strip() if wanted is None else wanted
        if not wanted:
            raise ValueError(
                f"raw_answers holds an empty answer: {reference!r}; expected `#### n`, \\\\boxed{{n}} or n"
            )
        if answer is not None and same_answer(answer, wanted):
            return 1.0
    return 0.0
