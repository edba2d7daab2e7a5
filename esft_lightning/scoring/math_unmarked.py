r"""The answer of a solution that marks none: what stands last.

The first of these that there is: a short text that is nothing but a value; "the result is" in the last line; bold
type in the last paragraph; the last value in the text. A value is read with what belongs to it: `10:30`, `5 feet 6
inches`, `3 and 5`, `5 million`, `less than 18` are no `30`, `6`, `5`, `5`, `18`.
"""

import re

from esft_lightning.scoring.latex_text import MATH, SetAside, set_aside
from esft_lightning.scoring.math_statement import NUMBER, first_clause, is_value, value_of

__all__ = ["unmarked_answer"]

_RESULT = re.compile(
    r"\b(?:result|solution|output|conclusion|value(?:\s+of\s[^.\n=]{1,40}?)?)\s*[*_]*\s*"
    r"(?:is|are|equals|[:：=])[*_\s]*(?=\S)",
    re.IGNORECASE,
)
_BOLD = re.compile(r"(?<![\w)*])(\*\*|__)(?=\S)(.+?)(?<=\S)\1(?![\w*])")
_OPERATOR = r"\s?(?:[-+*/^=<>≤≥±×÷·:]|\\(?:times|cdot|pm|le|ge))\s?"
_LETTER = r"(?<![^\W\d_])[A-Za-z](?:_\{?\w\}?)?(?![^\W\d_])"
_ATOM = rf"[-([{{]{{0,4}}(?:{NUMBER}|{MATH}|(?<=\d){_LETTER}|{_LETTER}(?=\s?[-+*/^=<>≤≥(]))[)\]}}!]{{0,4}}"
_BEHIND_OPERATOR = rf"(?<=[-+*/^=<>≤≥]\s){_LETTER}|(?<=[-+*/^=<>≤≥]){_LETTER}"
_RUN = re.compile(
    rf"(?:{_LETTER}(?=\s?=))?{_ATOM}"
    rf"(?:(?:{_OPERATOR}|,\s?(?:and|or)?\s?|\s(?:and|or|to)\s|\s)?(?:{_ATOM}|{_BEHIND_OPERATOR}))*"
)
"""Numbers, letters and mathematics with nothing but operators, commas and connectives between them."""
_OPEN_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_COMPOUND = re.compile(
    rf"(?<![\d.,]){NUMBER}\s(?:days?|weeks?|months?|years?|hours?|hrs?|h|minutes?|mins?|feet|foot|ft|yards?|dollars?"
    r"|pounds?|lbs?|euros?|meters?|metres?|m|kilometers?|km|kilograms?|kg|gallons?|degrees?)"
    rf"\s(?:and\s)?{NUMBER}\s\w+"
)
_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?"
_BEFORE_RUN = re.compile(
    r"(?:\b(?:less|more|fewer|greater|larger|smaller|rather|other)\s+than"
    rf"|\b(?:twice|half(?:\s+of)?|double|between|negative|minus|version|not|under|over|above|below|{_MONTH})|\bv\.?)\s*$",
    re.IGNORECASE,
)
_BEHIND_RUN = re.compile(
    rf"(?:st|nd|rd|th)\b(?:\s+(?:of\s+)?{_MONTH})?"
    rf"|\s*(?:[ap]\.?m\b\.?|o'?clock|hundred|thousand|[mb]illion|trillion|dozen|{_MONTH}(?!\w)"
    r"|half|halves|thirds?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?|thousandths?)\b",
    re.IGNORECASE,
)
_VALUE_FIRST = re.compile(r"[-+±√.(\[{$€£¥\\\d]|[A-Za-z](?![A-Za-z])(?!\s+[a-z]{2})")
_SHORT = 200
_FEW_WORDS = 6
_PROSE = re.compile(r"(?<![\\A-Za-z{])[a-z]{2,}\s+[a-z\d]|[.:]\s")


def unmarked_answer(text: str) -> str | None:
    """Return the answer of a text that marks none, None where it has no value.

    Args:
        text: What was said, thousands separated by commas or thin spaces.
    """
    math = set_aside(_OPEN_BOX.sub(" ", text))
    whole = math.text.strip()
    for find in (_short, _last_line, _result, _bold):
        if (answer := find(whole, math)) is not None:
            return answer
    return _last_value(whole, math)


def _last_line(whole: str, math: SetAside) -> str | None:
    """The value that the last line is, between fences or not, without prose."""
    lines = [line.strip() for line in whole.split("\n") if line.strip(" `~")]
    value = _short(lines[-1], math) if len(lines) > 1 else None
    return None if value is None or _PROSE.search(value) else value


def _short(whole: str, math: SetAside) -> str | None:
    """The value that a text of one clause is, if it begins with it or is a word or two."""
    clause = first_clause(whole)
    rest = whole.partition(clause)[2] if clause else whole
    if "\n" in whole or not clause or len(whole) > _SHORT or re.search(rf"\w|{MATH}", rest):
        return None
    value = value_of(clause, math)
    first = is_value(value) and _VALUE_FIRST.match(value) and math.restored(clause).startswith(value)
    if value and (first or len(clause.split()) <= 2):
        return _outcome(value, clause.endswith("="))
    return None


def _result(whole: str, math: SetAside) -> str | None:
    """The value that the last line calls a result."""
    last_line = whole.rpartition("\n")[2]
    for mark in reversed(list(_RESULT.finditer(last_line))):
        value = value_of(first_clause(last_line[mark.end() :]), math)
        if is_value(value) and _VALUE_FIRST.match(value):
            return value
    return None


def _bold(whole: str, math: SetAside) -> str | None:
    """The last value in bold type, in the last paragraph."""
    for bold in reversed(list(_BOLD.finditer(re.split(r"\n\s*\n", whole)[-1]))):
        value = value_of(bold[2].rstrip(" :."), math)
        if is_value(value) and len(value.split()) <= _FEW_WORDS and not bold[2].rstrip().endswith(":"):
            return value
    return None


def _last_value(whole: str, math: SetAside) -> str | None:
    """The last value, with what makes another one of it before and behind it."""
    runs = [run for run in _RUN.finditer(whole) if _is_run(math.restored(run[0]))]
    if not runs:
        return None
    last = runs[-1]
    parts = [part for part in _COMPOUND.finditer(whole) if part.end() >= last.end()]
    if parts:
        return math.restored(parts[-1][0])
    before, behind = _BEFORE_RUN.search(whole[: last.start()]), _BEHIND_RUN.match(whole, last.end())
    if before or behind:
        return value_of((before[0] if before else "") + last[0] + (behind[0] if behind else ""), math)
    return _outcome(math.restored(last[0].rstrip("!")), whole[last.end() :].lstrip().startswith("="))


def _is_run(text: str) -> bool:
    return re.search(r"\d|\\|[A-Za-z]\s*[-+*/^=]", text) is not None


def _outcome(run: str, cut: bool) -> str:
    """A run of numbers and operators as the answer that it ends in: `3 + 4 = 7` is `7`, and so is `3 + 7 =`.

    Args:
        run: The run.
        cut: Whether an equals sign without a value follows.
    """
    left, equals, right = run.strip(" ,").rpartition("=")
    if equals and re.search(r"[A-Za-z]", left):
        return run.strip(" ,")
    last = re.search(rf"{NUMBER}$", right.strip()) if cut else None
    return last[0] if last else right.strip()
