"""What a function takes and returns, in words and in Python: one operation, or two and three put together.

A specification is written with `{a}` where its argument stands, in the words and in the expression alike.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple

from esft_lightning.embedded.pools import Pool, pool_of

__all__ = ["ARGUMENTS", "KINDS", "LAYOUTS", "Specification", "body_pool", "canonical", "single", "specification"]

LAYOUTS: dict[Pool, tuple[str, ...]] = {
    "pretraining": (
        "Write a Python function {name}({arg}) that returns {what}.",
        "Write {name}({arg}): it returns {what}.",
        "What does a Python function {name} of {kind} {arg} look like that gives {what}?",
    ),
    "train": (
        "Complete the task in Python. Name: {name}. Argument: {arg}, {kind}. Result: {what}.",
        "Define the Python function {name} of {arg} ({kind}). It should return {what}.",
        "Given {arg}, {kind}, return {what}. Call the Python function {name}.",
        "Task for Python: from {kind}, passed as {arg}, make {what}. The function is {name}.",
    ),
    "validation": (
        "Please code {name} in Python. Its argument {arg} is {kind}. The value to return: {what}.",
        "Python, one function, {name}({arg}), {arg} being {kind}. Let it give back {what}.",
    ),
    "test": (
        "Implement {name}({arg}) in Python. Here {arg} is {kind}, and the function returns {what}.",
        "I need a Python function {name} that takes {kind} called {arg} and returns {what}.",
        "For {kind} with the name {arg}, {name} must compute {what}. Show the Python function.",
    ),
}
KINDS = {"list": "a list of integers", "number": "an integer", "text": "a string"}
ARGUMENTS: dict[str, dict[Pool, tuple[str, ...]]] = {
    "list": {
        "pretraining": ("values", "numbers", "array"),
        "train": ("xs", "items", "seq"),
        "validation": ("row", "entries"),
        "test": ("nums", "data"),
    },
    "number": {
        "pretraining": ("number", "i", "j"),
        "train": ("n", "a", "value"),
        "validation": ("b", "amount"),
        "test": ("k", "num", "m"),
    },
    "text": {
        "pretraining": ("string", "name", "t"),
        "train": ("s", "text", "word"),
        "validation": ("title", "w"),
        "test": ("line", "phrase"),
    },
}
LETTERS = "aeorsltndiucmp"


class Piece(NamedTuple):
    """A phrase of the specification with the Python that it means (`{}` stands for the value worked on)."""

    words: str
    python: str


class Specification(NamedTuple):
    """What a function takes (`kind`), what it returns in words, and the expression that does (both with `{a}`)."""

    kind: str
    words: str
    expression: str

    def what(self, argument: str) -> str:
        """The result in words, of an argument with that name."""
        return self.words.replace("{a}", argument)

    def returned(self, argument: str) -> str:
        """The expression, of an argument with that name."""
        return self.expression.replace("{a}", argument)

    def function(self, name: str, argument: str) -> str:
        """The whole function, two lines."""
        return f"def {name}({argument}):\n    return {self.returned(argument)}"


_PYTHON = frozenset(
    "for in if else and or not len sum set sorted reverse True False upper lower strip replace count".split()
)
_IDENTIFIER = re.compile(r"'[^']*'|[A-Za-z_]\w*")


def canonical(expression: str) -> str:
    """An expression with its names numbered as they come and its spaces gone: alike for alike bodies."""
    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        word = match[0]
        return word if word in _PYTHON or word[0] == "'" else names.setdefault(word, f"v{len(names)}")

    return _IDENTIFIER.sub(renamed, expression).replace(" ", "").rstrip(",;:")


def body_pool(expression: str) -> Pool:
    """The pool of an expression of two or more operations, whatever its names are."""
    return pool_of(canonical(expression))


def _change(rng: random.Random) -> Piece:
    """An operation on one number; its Python binds like a product or is in brackets where `{}` is changed again."""
    c = rng.randint(2, 20)
    return rng.choice(
        (
            Piece(f"plus {c}", f"{{}} + {c}"),
            Piece(f"minus {c}", f"{{}} - {c}"),
            Piece(f"times {c}", f"{{}} * {c}"),
            Piece(f"modulo {c}", f"{{}} % {c}"),
            Piece(f"divided by {c} without remainder", f"{{}} // {c}"),
        )
    )


def _condition(rng: random.Random) -> Piece:
    c = rng.randint(0, 12)
    return rng.choice(
        (
            Piece(f"greater than {c}", f"{{}} > {c}"),
            Piece(f"less than {c}", f"{{}} < {c}"),
            Piece(f"at least {c}", f"{{}} >= {c}"),
            Piece(f"at most {c}", f"{{}} <= {c}"),
            Piece(f"not equal to {c}", f"{{}} != {c}"),
            Piece("even", "{} % 2 == 0"),
            Piece("odd", "{} % 2 == 1"),
        )
    )


def _text_change(rng: random.Random) -> Piece:
    """A string operation; its Python can be followed by another one."""
    old, new = rng.sample(LETTERS, 2)
    c = rng.randint(2, 9)
    return rng.choice(
        (
            Piece("in upper case", "{}.upper()"),
            Piece("in lower case", "{}.lower()"),
            Piece("reversed", "{}[::-1]"),
            Piece(f"with '{old}' replaced by '{new}'", f"{{}}.replace('{old}', '{new}')"),
            Piece("without spaces at the ends", "{}.strip()"),
            Piece(f"cut to the first {c} characters", f"{{}}[:{c}]"),
            Piece(f"without the first {c} characters", f"{{}}[{c}:]"),
        )
    )


_WHOLE_LIST = (
    ("the sum of all numbers in {a}", "sum({a})"),
    ("the count of all numbers in {a}", "len({a})"),
    ("{a} in rising order", "sorted({a})"),
    ("{a} in falling order", "sorted({a}, reverse=True)"),
    ("{a} in reverse", "{a}[::-1]"),
    ("the set of all numbers in {a}", "set({a})"),
)


def single(rng: random.Random) -> Specification:
    """One operation: what everybody may read."""
    family = rng.randrange(8)
    if family == 0:
        change = _change(rng)
        return Specification("number", f"{{a}} {change.words}", change.python.format("{a}"))
    if family == 1:
        test = _condition(rng)
        return Specification("number", f"whether {{a}} is {test.words}", test.python.format("{a}"))
    if family == 2:
        change = _change(rng)
        what = f"a list of all numbers in {{a}}, each {change.words}"
        return Specification("list", what, f"[{change.python.format('x')} for x in {{a}}]")
    if family == 3:
        test = _condition(rng)
        what = f"a list of all numbers in {{a}} that are {test.words}"
        return Specification("list", what, f"[x for x in {{a}} if {test.python.format('x')}]")
    if family == 4:
        return Specification("list", *rng.choice(_WHOLE_LIST))
    if family == 5:
        c = rng.randint(1, 9)
        side, cut = rng.choice((("first", f":{c}"), ("last", f"-{c}:")))
        return Specification("list", f"the {side} {c} of {{a}}", f"{{a}}[{cut}]")
    if family == 6:
        letter = rng.choice(LETTERS)
        return Specification("text", f"how often '{letter}' is in {{a}}", f"{{a}}.count('{letter}')")
    change = _text_change(rng)
    return Specification("text", f"{{a}} {change.words}", change.python.format("{a}"))


def _two_different(draw: Callable[[random.Random], Piece], rng: random.Random) -> tuple[Piece, Piece]:
    first = draw(rng)
    while (second := draw(rng)) == first:
        pass
    return first, second


def _composed(rng: random.Random) -> Specification:
    """Two or three operations."""
    family = rng.randrange(9)
    if family == 0:
        first, second = _two_different(_change, rng)
        what = f"{{a}} {first.words}, then {second.words}"
        return Specification("number", what, second.python.format(f"({first.python.format('{a}')})"))
    if family == 1:
        test, (change, other) = _condition(rng), _two_different(_change, rng)
        what = f"{{a}} {change.words} if {{a}} is {test.words}, else {{a}} {other.words}"
        yes, no, when = (piece.python.format("{a}") for piece in (change, other, test))
        return Specification("number", what, f"{yes} if {when} else {no}")
    if family in (2, 3, 4):
        test, change = _condition(rng), _change(rng)
        each = f"{change.python.format('x')} for x in {{a}} if {test.python.format('x')}"
        what = f"all numbers in {{a}} that are {test.words}, each {change.words}"
        kind, brackets = (("a list", "[{}]"), ("the sum", "sum({})"), ("the set", "{{{}}}"))[family - 2]
        return Specification("list", f"{kind} of {what}", brackets.format(each))
    if family == 5:
        test, (side, cut) = _condition(rng), _side(rng)
        what = f"the count of all numbers in the {side} of {{a}} that are {test.words}"
        return Specification("list", what, f"len([x for x in {{a}}[{cut}] if {test.python.format('x')}])")
    if family == 6:
        test, (side, cut) = _condition(rng), _side(rng)
        what = f"a list of all numbers in the {side} of {{a}} that are {test.words}"
        return Specification("list", what, f"[x for x in {{a}}[{cut}] if {test.python.format('x')}]")
    if family == 7:
        change, (side, cut) = _change(rng), _side(rng)
        what = f"the sum of all numbers in the {side} of {{a}}, each {change.words}"
        return Specification("list", what, f"sum({change.python.format('x')} for x in {{a}}[{cut}])")
    first, second = _two_different(_text_change, rng)
    what = f"{{a}} {first.words}, then {second.words}"
    return Specification("text", what, second.python.format(first.python.format("{a}")))


def _side(rng: random.Random) -> tuple[str, str]:
    c = rng.randint(1, 9)
    return rng.choice(((f"first {c}", f":{c}"), (f"last {c}", f"-{c}:")))


def specification(rng: random.Random, pool: Pool) -> Specification:
    """A specification of two or three operations whose body is of the pool."""
    while True:
        spec = _composed(rng)
        if body_pool(spec.returned("argument")) == pool:
            return spec
