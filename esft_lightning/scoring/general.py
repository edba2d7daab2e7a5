"""How the probes of general ability are scored. Arithmetic on strings and numbers; no torch, no model.

The rows are those of :mod:`esft_lightning.embedded.general_probes`. Every function returns a score in [0, 1] for
one row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from esft_lightning.scoring.row_texts import references, texts

__all__ = ["follows_format", "score_choice", "score_recall"]


def first_line(prediction: str) -> str:
    """The first line of an answer that holds anything, without the spaces around it."""
    return next((line.strip() for line in prediction.split("\n") if line.strip()), "")


def _plain(text: str) -> str:
    """Letters, digits and the marks on them, of any script; a text of none stays as it is."""
    text = text.lower()
    kept = (character for character in text if character in " " or unicodedata.category(character)[0] in "LNM")
    return "".join(kept).strip() or text.strip()


def score_recall(prediction: str, row: Mapping) -> float:
    """1 when the first line of the answer is one of ``raw_answers``, up to case and punctuation."""
    return float(_plain(first_line(prediction)) in {_plain(answer) for answer in references(row)})


def score_choice(scores: Sequence[float], row: Mapping) -> float:
    """1 when the option with the highest score is option ``answer``; a tie goes to the first, as everywhere here."""
    return float(max(range(len(scores)), key=lambda number: scores[number]) == row["answer"])


def _repeat(text: str, row: Mapping) -> bool:
    return text.rstrip(".").replace(",", " ").split() == [texts(row, "words")[0]] * row["times"]


def _capitals(text: str, row: Mapping) -> bool:
    return text.rstrip(".") == texts(row, "words")[0].upper()


def _commas(text: str, row: Mapping) -> bool:
    return [part.strip() for part in text.rstrip(".").split(",")] == texts(row, "words")


def _comma_count(text: str, row: Mapping) -> bool:
    parts = [part.strip() for part in text.rstrip(".").split(",")]
    return len(parts) == row["times"] and all(re.fullmatch("[a-z]+", p) for p in parts)


def _full_stop(text: str, row: Mapping) -> bool:
    return text == " ".join(texts(row, "words")) + "."


def _quotes(text: str, row: Mapping) -> bool:
    return text.rstrip(".") == f'"{texts(row, "words")[0]}"'


def _reverse(text: str, row: Mapping) -> bool:
    return text.rstrip(".").replace(",", " ").split() == list(reversed(texts(row, "words")))


def _copy(text: str, row: Mapping) -> bool:
    return text.rstrip(".").lower() == texts(row, "words")[0]


_RULES: dict[str, Callable[[str, Mapping], bool]] = {
    "repeat": _repeat,
    "capitals": _capitals,
    "commas": _commas,
    "comma_count": _comma_count,
    "full_stop": _full_stop,
    "quotes": _quotes,
    "reverse": _reverse,
    "copy": _copy,
}


def follows_format(prediction: str, row: Mapping) -> float:
    """1 when the first line of the answer has the form that ``row["rule"]`` asks for.

    Args:
        prediction: Generated answer.
        row: ``rule`` with its ``words`` and, where it counts, ``times``.

    Raises:
        KeyError: The rule is unknown.
    """
    if row["rule"] not in _RULES:
        raise KeyError(f"format probe: no rule {row['rule']!r}; the rules are {', '.join(_RULES)}")
    return float(_RULES[row["rule"]](first_line(prediction), row))
