r"""When two final answers are one: by their structure down to numbers, words and expressions.

An answer is a quantity, a literal (`math_quantities`), an equation, a list without order (`3, 5`, `\{3,5\}`,
`x = 3 or x = 5`, `1 \pm \sqrt{2}`), an ordered pair or interval with its own brackets, a union, a matrix, words, or an
expression, which alone goes to math-verify (`math_expressions`), whole and never in parts. What cannot be compared is
different.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from esft_lightning.scoring.math_expressions import same_expression
from esft_lightning.scoring.math_notation import LONGEST_ANSWER, plain
from esft_lightning.scoring.math_quantities import literal, quantity

__all__ = ["same_answer"]

_OPENING, _CLOSING = ("(", "[", "\\{", "{"), (")", "]", "\\}", "}")
_AROUND_ONE = (("(", ")"), ("{", "}"), ("[", "]"))
_PIECE = re.compile(r"\\begin\{.*?\\end\{[a-zA-Z*]+\}|\\[{}]|\\[A-Za-z]+|\\.|.", re.DOTALL)
_BETWEEN = re.compile(r"\s*(?:[,;]\s*(?:and|or)\b|[,;]|\b(?:and|or)\b|&|和|或|与)\s*")
_MATRIX = re.compile(
    r"(?P<kind>\\begin\{(?P<name>[pbvBV]?matrix|array)\})(?:\{[lcr| ]*\})?(?P<rows>.*?)\\end\{(?P=name)\}", re.DOTALL
)
_ALIGNED = re.compile(
    r"\\begin\{((?:aligned|align|gather|gathered|split|eqnarray|equation)\*?)\}(.*?)\\end\{\1\}", re.DOTALL
)
_EQUALS = re.compile(r"(?<![<>!:=])=(?!=)|\\approx(?![A-Za-z])")
_RELATION = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]")
_CHAIN = re.compile(r"(?P<low>.+?)\s*(?P<left>\\le|<)\s*(?P<name>[A-Za-z])\s*(?P<right>\\le|<)\s*(?P<high>.+)")
_BOUND = re.compile(r"(?P<name>[A-Za-z])\s*(?P<sign>\\le|\\ge|<|>)\s*(?P<value>.+)")
_MEMBER = re.compile(r"([A-Za-z])\s*(?:\\in(?![A-Za-z])|\bin\b)\s*(.+)")
_OPTION = re.compile(r"\(([A-H])\)[.:]?\s+(\S.*)")
_NAMES = re.compile(r"_\s*\{?\w+\}?|(?<=[A-Za-z'])\([^()]*\)|\|[^|]*\|")
_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .'-])*")
_LONG_WORD = re.compile(
    r"(?<![\\A-Za-z])(?<!\\begin\{)(?<!\\end\{)(?!(?:sin|cos|tan|cot|sec|csc|log|exp|arcsin|arccos|arctan|sinh|cosh|tanh|sqrt|deg)\b)[^\W\d_]{3,}"
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+")
_DEEPEST = 6


def same_answer(answer: str, wanted: str) -> bool:
    """Tell whether an answer is the wanted number, text or expression.

    Args:
        answer: What was answered, without the prose around it.
        wanted: The reference.
    """
    return _same(plain(answer), plain(wanted))


@lru_cache(maxsize=1 << 14)
def _same(left: str, right: str, depth: int = 0) -> bool:
    """Whether two texts in the one notation are one answer."""
    left, right = _tidied(left), _tidied(right)
    if _key(left) == _key(right):
        return bool(left)
    if depth > _DEEPEST or not left or not right or max(len(left), len(right)) > LONGEST_ANSWER:
        return False
    if (verdict := _same_options(left, right, depth + 1)) is not None:
        return verdict
    first, second = quantity(left), quantity(right)
    if first is not None and second is not None:
        return first.same(second)
    literals = literal(left), literal(right)
    if None not in literals:
        return literals[0] == literals[1]
    for compare in (_same_matrices, _same_equations, _same_unions, _same_lists):
        if (verdict := compare(left, right, depth + 1)) is not None:
            return verdict
    if literals != (None, None):
        return False
    for compare in (_same_brackets, _same_words):
        if (verdict := compare(left, right, depth + 1)) is not None:
            return verdict
    return same_expression(left, right)


def _same_options(left: str, right: str, depth: int) -> bool | None:
    """`(C) 5` says both what is chosen, and what stands there."""
    options = [_OPTION.fullmatch(text) for text in (left, right)]
    if (options[0] is None) == (options[1] is None):
        return None
    option, other = (options[0], right) if options[0] else (options[1], left)
    return option is not None and any(_same(part, other, depth) for part in option.groups())


def _tidied(text: str) -> str:
    """Without the marks of alignment, and without braces or round brackets around a single value."""
    if aligned := _ALIGNED.fullmatch(text.strip()):
        rows = [" ".join(_split(row, re.compile("&"))).strip() for row in _split(aligned[2], re.compile(r"\\\\"))]
        text = " ".join(row for row in rows if row)
    text = text.strip()
    while (inside := _inside(text)) and (inside[0], inside[2]) in _AROUND_ONE and len(inside[1]) == 1:
        text = inside[1][0].strip()
    return text


def _key(text: str) -> str:
    """The text without spaces, but for those between two digits: `1 2` is not `12`."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text).replace("+\\infty", "\\infty").removesuffix(".")


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split where a separator stands outside all brackets."""
    masked, depth = [], 0
    for piece in _PIECE.findall(text):
        depth -= piece in _CLOSING
        inside = depth > 0 or piece.startswith("\\begin")
        masked.append("\0" * len(piece) if inside or piece in _OPENING else piece)
        depth += piece in _OPENING
    parts, begin = [], 0
    for match in separator.finditer("".join(masked)):
        parts.append(text[begin : match.start()])
        begin = match.end()
    return [part.strip() for part in (*parts, text[begin:])]


def _inside(text: str) -> tuple[str, list[str], str] | None:
    """Opening bracket, the parts between commas, closing bracket, where one pair of brackets holds the whole."""
    pieces = _PIECE.findall(text)
    if len(pieces) < 2 or pieces[0] not in _OPENING or pieces[-1] not in _CLOSING:
        return None
    depth = 0
    for place, piece in enumerate(pieces):
        depth += (piece in _OPENING) - (piece in _CLOSING)
        if depth == 0 and place < len(pieces) - 1:
            return None
    return pieces[0], _split("".join(pieces[1:-1]), re.compile(r"[,;]")), pieces[-1]


def _same_matrices(left: str, right: str, depth: int) -> bool | None:
    """Cell by cell; a determinant's bars are no brackets."""
    one, other = _MATRIX.fullmatch(left), _MATRIX.fullmatch(right)
    if one is None or other is None:
        return None
    cells = [
        [row.split("&") for row in match["rows"].strip().removesuffix("\\\\").split("\\\\")] for match in (one, other)
    ]
    bars = [match["name"].lower() == "vmatrix" for match in (one, other)]
    if bars[0] != bars[1] or [len(row) for row in cells[0]] != [len(row) for row in cells[1]]:
        return False
    pairs = zip(*([cell for row in rows for cell in row] for rows in cells), strict=True)
    return all(_same(plain(first), plain(second), depth) for first, second in pairs)


def _same_unions(left: str, right: str, depth: int) -> bool | None:
    """Unions of intervals, as such, as inequalities, or joined by `or`."""
    names = [match[1] for text in (left, right) if (match := _MEMBER.fullmatch(text))]
    if len(set(names)) == 2:
        return False
    left, right = _member(left), _member(right)
    parts = [_split(text, re.compile(r"\\cup(?![A-Za-z])")) for text in (left, right)]
    if len(parts[0]) == len(parts[1]) == 1 and not (_RELATION.search(left) or _RELATION.search(right)):
        return None
    intervals = [
        [
            _interval(item)
            for part in found
            for item in (_split(part, re.compile(r"\s+or\s+")) if len(found) == 1 else [part])
        ]
        for found in parts
    ]
    if any(interval is None for found in intervals for interval in found):
        return None if len(parts[0]) == len(parts[1]) == 1 else False
    return _match([item or "" for item in intervals[0]], [item or "" for item in intervals[1]], depth)


def _member(text: str) -> str:
    r"""The set in `x \in S`; any other text as it is."""
    match = _MEMBER.fullmatch(text)
    return match[2].strip() if match else text


def _interval(text: str) -> str | None:
    """A bracketed interval as it is, an inequality as its interval, None for anything else."""
    text = _member(text.strip())
    inside = _inside(text)
    if inside is not None and len(inside[1]) == 2 and inside[0] in "([" and inside[2] in ")]":
        return text
    if chain := _CHAIN.fullmatch(text):
        low, high = "[" if chain["left"] == "\\le" else "(", "]" if chain["right"] == "\\le" else ")"
        return f"{low}{chain['low']}, {chain['high']}{high}"
    if (bound := _BOUND.fullmatch(text)) and not _RELATION.search(bound["value"]):
        form = {"<": "(-\\infty, {})", "\\le": "(-\\infty, {}]", ">": "({}, \\infty)", "\\ge": "[{}, \\infty)"}
        return form[bound["sign"]].format(bound["value"])
    return None


def _items(text: str) -> list[str]:
    r"""The items of a list; braces of a set are dropped, `a \pm b` is two."""
    inside = _inside(text)
    if inside is not None and inside[0] == "\\{":
        text = ", ".join(inside[1])
    items = [part for part in _split(text, _BETWEEN) if part]
    signed = [
        [re.sub(r"\\pm\s*", sign, re.sub(r"\\mp\s*", "-" if sign == "+" else "+", item)) for sign in "+-"]
        if re.search(r"\\(?:pm|mp)(?![A-Za-z])", item) else [item]
        for item in items
    ]  # fmt: skip
    return [item.removeprefix("+") for both in signed for item in both]


def _same_lists(left: str, right: str, depth: int) -> bool | None:
    """Each item once, in any order; `x = 3, y = 5` gives its values an order."""
    first, second = _items(left), _items(right)
    if len(first) == len(second) == 1:
        return None if (first[0], second[0]) == (left, right) else _same(first[0], second[0], depth)
    if 1 in (len(first), len(second)):  # one value, written in several ways
        return all(_same(one, other, depth) for one in first for other in second)
    if len(first) != len(second):
        return False
    names = [_EQUALS.split(item)[0].strip() if _EQUALS.search(item) else "" for item in first]
    others = [_EQUALS.split(item)[0].strip() if _EQUALS.search(item) else "" for item in second]
    if (len(set(names) - {""}) > 1) != (len(set(others) - {""}) > 1):
        return all(_same(one, other, depth) for one, other in zip(first, second, strict=True))
    return _match(first, second, depth)


def _match(first: Sequence[str], second: Sequence[str], depth: int) -> bool:
    """Whether each item of one side has an item of the other for itself."""
    left = list(second)
    for item in first:
        place = next((place for place, other in enumerate(left) if _same(item, other, depth)), None)
        if place is None:
            return False
        del left[place]
    return not left


def _same_brackets(left: str, right: str, depth: int) -> bool | None:
    """The same brackets, and what is in them in the same order."""
    one, other = _inside(_member(left)), _inside(_member(right))
    if one is None and other is None:
        return None
    if one is None or other is None:
        many = (one or other or ("", [], ""))[1]
        return False if len(many) > 1 else None
    if (one[0], one[2]) != (other[0], other[2]) or len(one[1]) != len(other[1]):
        return False
    return all(_same(first, second, depth) for first, second in zip(one[1], other[1], strict=True))


def _same_equations(left: str, right: str, depth: int) -> bool | None:
    """`x = 5` is `5`, and not `y = 5`; of a chain `a = b = c` the ends count."""
    chains = [_split(text, _EQUALS) for text in (left, right)]
    lists = [len(_split(text, _BETWEEN)) for text in (left, right)]
    if len(chains[0]) == len(chains[1]) == 1 or any(
        len(chain) > 2 and parts > 1 for chain, parts in zip(chains, lists, strict=True)
    ):
        return None
    if len(chains[0]) > 1 and len(chains[1]) > 1:
        (head, value), (other_head, other_value) = ((chain[0], chain[-1]) for chain in chains)
        if _key(head) == _key(other_head):
            return _same(value, other_value, depth)
        if len(chains[0]) != len(chains[1]):  # `x = y = 2t` says `y = 2t`
            longer, shorter = (chains[0], right) if len(chains[0]) > len(chains[1]) else (chains[1], left)
            return _same(" = ".join(longer[1:]), shorter, depth)
        return same_expression(f"{head} = {value}", f"{other_head} = {other_value}")
    chain, bare = (chains[0], right) if len(chains[0]) > 1 else (chains[1], left)
    return _is_name(chain[0]) and _same(chain[-1], bare, depth)


def _is_name(head: str) -> bool:
    """Whether an equation's left side only names what stands on its right: `x`, `f(3)`, `a + b`, `9 + 9`."""
    bare = _NAMES.sub("", head)
    return not re.search(r"\d", bare) or not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", bare))


def _same_words(left: str, right: str, depth: int) -> bool | None:
    """Words are no products of letters: `silent` and `listen` differ; capitals and articles do not count."""
    del depth
    if any(
        _LONG_WORD.search(text) or (_WORDS.fullmatch(text) and re.search(r"[eiouEIOU]", text[1:]))
        for text in (left, right)
    ):
        first, second = (_ARTICLE.sub("", " ".join(text.casefold().split())) for text in (left, right))
        return _key(first) == _key(second)
    return None
