r"""The value in a statement: what follows "the answer is" → the answer itself, without the prose around it.

`18 dollars a day.` → `18 dollars`, `$\frac{3}{4}$, because …` → `\frac{3}{4}`, `approximately 3.5.` → `3.5`, `Evelyn,
who ran …` → `Evelyn`. A statement of several values that are no list (`5 hours 30 minutes`, `18 out of 20`) and one
that says something else of its number (`less than 18`, `twice 18`) stay whole, so that they are right against nothing
but themselves. This file knows prose around mathematics that is set aside (`latex_text`); not where statements stand.
"""

import re

from esft_lightning.scoring.latex_text import MATH, SetAside
from esft_lightning.scoring.math_notation import plain
from esft_lightning.scoring.math_quantities import quantity

__all__ = ["NUMBER", "first_clause", "is_value", "value_of"]

_DECIMAL = r"(?:\d{1,3}(?:[,'\u00a0\u2007\u2009\u202f]\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+"
NUMBER = (
    rf"(?:(?<![\w)])-\s?)?(?:[$€£¥]\s?)?(?:(?<![\w)])-)?(?:{_DECIMAL})(?: \d+/\d+|\s?[½-¾⅐-⅞]|/\d+(?![\d/]))?(?:\s?%)?"
)
"""A number in prose, thousands separated or not, with its fraction, currency or percent sign."""

_STOP = re.compile(
    r"\n"
    r"|(?<!\\)[!?](?=[\s*\"')\]]|$)"
    r"|(?<!\\)[。；！？;](?!\s*-?\d)"
    r"|(?<!\b[ap])(?<!\b[ap]\.m)(?<!\bRs)(?<!\bapprox)\.(?=[*_\"'`)\]]*(?:\s|$|</|<\|))"  # not in `10 a.m. today`
    r"|</|<\||(?<=\s)\|(?=\s|$)"  # a tag, a token, the end of a table's cell
    r"|(?=\s\(?[Ii]\shope\b)"
)
"""Where a clause ends."""
_OPENED = re.compile(r"^\s*```\w*[ \t]*\n|^[ \t]*\|?[ \t]*\n[ \t]*\|?[-:| \t]{3,}\n[ \t]*\|?")
"""What opens a block of code, or a table's rows, in which the value stands."""
_COPULA = re.compile(r"(?<=\S)\s*(?:입니다|이다|です|である)$")
_SYMBOLS = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f]")
_ENDS = "*_`\"'“”‘’«»「」【】"
_LEAD = re.compile(
    r"(?:(?:approximately|approx\.?|about|around|roughly|nearly|exactly|just|so|therefore|thus|hence|then|also|indeed|now"
    r"|[a-z]+ly|equals?(?:\s+to)?|given\s+by|a\s+total\s+of|in\s+total|option|choice|is|are|be|为|是|等于|约)"
    r"(?![\w-])[,:]?|[:=≈~：]|\\approx|(?:the|an?|that)(?=\s))\s*",
    re.IGNORECASE,
)
"""What leads to a value and says nothing of it."""
_CUT = re.compile(
    r",?\s+(?:because|since|so|which|where|when|while|if|as|that|who|after|before|given|giving|making|meaning|thus|hence"
    r"|therefore|and\s+(?:so|the|this|that|she|he|it|they|we|thus)|i\.e\.|for|from|with|on|at|by|in|of)(?=\s)"
    r"|,?\s+(?:and\s+)?not\s|,?\s+(?:rather\s+than|instead\s+of)\s|\s+\((?=\d[\d.,]*\s*[×*÷]\s*\d[^()]*\))"
    r"|,?\s+or\s+(?:about|approximately|roughly|around|equivalently|simply)(?=\s)"
    r"|\s+and\s+(?!(?:one|two|three|four|five|six|seven|eight|nine|ten|half)\b)(?=[^\W\d_]{2,})"
    r"|[,，]\s*(?!(?:and|or)\b)(?=[^\W\d_]{2,}\s)|，|因为|所以"
    r"|\s+\((?![^()]*\binf)(?=[^()]*[^\W\d_]{3,})|\s*[(（](?=[^()（）]*=)"  # a remark in brackets
    r"|\s+[-–—]\s+(?=[^\W\d_]{2,})",
    re.IGNORECASE,
)
"""Where the prose behind a value begins."""
_WORDS_OF_MATH = (
    "sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh tanh sqrt pi inf infinity and or in to mod"
)
_MATH_WORDS = frozenset(_WORDS_OF_MATH.split())
_WORD = re.compile(
    r"(?<![\\\w])(?:[^\W\d_]{2,}(?:['-][^\W\d_]+)*)(?!\w)|(?<=\d)[^\W\d_]{2,}|[\u3040-\u30ff\u3400-\u9fff]+"
)
_OTHERWISE = re.compile(
    r"\b(?:not|no|never|neither|nor|isn't|without|except|less|more|fewer|greater|larger|smaller|bigger|than|over|under"
    r"|above|below|beyond|between|half|twice|double|triple|thrice|quarter|third|times|plus|least|most|every|version|out"
    r"|past|to|jan\w*|feb\w*|march|april|may|june?|july?|aug\w*|sep\w*|oct\w*|nov\w*|dec\w*|room|chapter|page|step"
    r"|question|problem|part|case|equation|example|grade|day|week|number|no|nr)\b",
    re.IGNORECASE,
)
"""Words before a number that make another number of it, or its name."""
_NEGATIVE = re.compile(r"\b(?:negative|minus)\s+(?=[\d.$])", re.IGNORECASE)
_TWO_WORDS = re.compile(r"(?:[^\W\d_]+,\s+)*[^\W\d_]+,?\s+and\s+[^\W\d_]+")
"""Several words, each of them an answer: `Evelyn and Bob`."""
_EACH = re.compile(r"(\d(?: [a-z]+)?) (?:an?|each|every) (?=[a-z]{2})")
_OPTION = re.compile(rf"(\([A-H]\))[:.]?\s+(?:{NUMBER}(?![\w.])|\S)")
_IN_BRACKETS = re.compile(rf"^\(({MATH})\)$")
_REMARK = re.compile(r"(?<=[^\s(])\s+\((?![^()]*\binf)(?=[^()]*[^\W\d_]{3,})[^()]*\)")
_OF = re.compile(r"\s*(?:in|by|for|at|of|on|from|to|with)\s+(?:the\s+|every\s+)?[\d$]")
_ATOM = re.compile(rf"{NUMBER}|{MATH}")
_LONGEST = 600


def first_clause(text: str) -> str:
    """The first clause of what follows a mark: to the end of its sentence or line. Mathematics is set aside."""
    text = _OPENED.sub("\n", text)
    bare = text.lstrip(" \t\r\n>*_`#:：\"'“")
    if "\n" in text[: len(text) - len(bare)]:
        bare = re.sub(r"^(?:-|1[.)])[ \t]+(?=\S)", "", bare)  # an item of a list, not a minus
    bare = bare[:_LONGEST]
    stop = _STOP.search(bare)
    clause = _SYMBOLS.sub("", bare[: stop.start()] if stop else bare).strip(" \t\r\n" + _ENDS)
    return _COPULA.sub("", clause)


def is_value(text: str) -> bool:
    """Whether a text holds a value: a digit, LaTeX, or an operator."""
    return bool(re.search(r"\d|\\[A-Za-z]|[-+^/=].*[A-Za-z]", text))


def value_of(clause: str, math: SetAside) -> str:
    """The value that a clause states.

    Args:
        clause: One clause, its mathematics set aside.
        math: What was set aside.
    """
    clause = _EACH.sub(r"\1 per ", _NEGATIVE.sub("-", _led(clause).strip()))
    if option := _OPTION.match(clause):
        return option[0] if option.end() == len(clause) else option[1]
    clause = _IN_BRACKETS.sub(r"\1", clause)
    clause = _REMARK.sub("", clause).strip() or clause
    words = [word for word in _WORD.finditer(clause) if word[0].lower() not in _MATH_WORDS]
    if not words:
        return math.restored(_without_remark(clause).rstrip(" -=,"))
    head = clause[: words[0].start()]
    head = re.sub(r"\s+(?:and|or)(?:\s+an?)?\s*$", "", head)
    if (dash := re.search(r"\s+[-–—]\s*$", head)) and _ATOM.search(head):
        return math.restored(head[: dash.start()])  # `36 - this is all`
    if _ATOM.search(head) or _is_expression(head):
        return _with_unit(clause, head, math)
    cut = _CUT.search(clause)
    if cut and _TWO_WORDS.fullmatch(clause.strip()):
        cut = None
    statement = clause[: cut.start()].strip() if cut and cut.start() else clause
    atoms = [atom[0] for atom in _ATOM.finditer(statement)]
    if len(atoms) == 1 and not _OTHERWISE.search(statement[: statement.index(atoms[0])]):
        return _with_unit(statement[statement.index(atoms[0]) :], atoms[0], math)
    return math.restored(statement).strip(" \t" + _ENDS)


def _led(clause: str) -> str:
    """Without the words that lead to a value, as long as something follows them."""
    while (lead := _LEAD.match(clause)) and lead.end() < len(clause):
        clause = clause[lead.end() :]
    return clause


def _without_remark(clause: str) -> str:
    """Without a remark in brackets or behind a connective."""
    cut = _CUT.search(clause)
    if cut is None or not _ATOM.search(clause[: cut.start()]) or _OF.match(clause, cut.start()):
        return clause
    return clause[: cut.start()]


def _is_expression(head: str) -> bool:
    """Whether letters and operators stand there that are an expression: `x + y `."""
    return bool(re.fullmatch(r"\W*[A-Za-z]\w?(?:\s*[-+*/^=]\s*\w{1,2})+\W*", head))


def _with_unit(clause: str, head: str, math: SetAside) -> str:
    """`head`, the value with which a clause begins, with what belongs to it of the rest."""
    rest = clause[len(head) :]
    cut = _CUT.search(" " + rest)
    phrase = (rest[: max(0, cut.start() - 1)] if cut else rest).rstrip(")")
    behind = rest[len(phrase) :]
    value, whole = math.restored(head).strip(), math.restored(head + phrase).strip(" \t" + _ENDS)
    if not phrase.strip() and _OF.match(behind):  # `1 in 6`
        return math.restored(clause)
    if _ATOM.search(phrase) or re.search(r"\b(?:out|than)\b", phrase):
        return whole
    known = quantity(plain(whole))
    if known is None:
        return whole if quantity(plain(value)) is not None else _without_noun(value, phrase, whole)
    return whole if known.unit or known.value != getattr(quantity(plain(value)), "value", None) else value


def _without_noun(value: str, phrase: str, whole: str) -> str:
    r"""An expression and what follows it: a thing goes (`3\sqrt{2} apples`), a unit or a word of weight stays."""
    return whole if quantity(plain("1 " + phrase.strip())) is None else value
