"""Calls of generated functions: the tests of evaluation rows, and the sessions that pretraining reads."""

import random
from collections.abc import Sequence
from typing import Any

__all__ = ["assertions", "calls", "short_input"]

NUMBER_INPUTS = [
    *(-144, -97, -61, -38, -19, -5, -2, -1, *range(15), 17, 19, 20, 22, 25, 31, 40, 57, 76, 97, 133, 190, 399),
]
LIST_INPUTS: list[list[int]] = [
    [],
    list(range(-3, 22)),
    list(range(23, -3, -1)),
    *([*range(start, 14), *range(start)] for start in range(14)),  # each small number once first and once last
]
TEXT_INPUTS = ["", "  radio MUSIC ", "apple tree and lemon pie", "CURIOUS clouds on Sunday", "aeioumnprstdlc"]


def _inputs(kind: str, rng: random.Random) -> list[Any]:
    """Arguments on which wrong constants and wrong comparisons show: whole ranges, and lists of larger numbers."""
    if kind == "number":
        return NUMBER_INPUTS
    if kind == "text":
        return TEXT_INPUTS
    return [*LIST_INPUTS, *(rng.sample(range(-99, 200), 12) for _ in range(3)), [2, 7, 2, 7, 11, 0, 5, 5]]


def calls(name: str, code: str, inputs: Sequence[Any]) -> list[tuple[str, str]]:
    """Calls of a generated function and its results, as Python text; the code is always of this package."""
    scope: dict[str, Any] = {}
    exec(code, scope)
    return [(f"{name}({value!r})", repr(scope[name](value))) for value in inputs]


def assertions(name: str, code: str, kind: str, seed: str) -> list[str]:
    """Assert lines that hold the reference's own results; none for a function that ignores what it is given."""
    results = calls(name, code, _inputs(kind, random.Random(seed)))
    return [f"assert {call} == {result}" for call, result in results] if len({r for _, r in results}) > 1 else []


def short_input(kind: str, rng: random.Random) -> Any:
    """An argument for a session: a number, a short list, or a text."""
    if kind == "number":
        return rng.randint(-20, 99)
    if kind == "list":
        return [rng.randint(-9, 30) for _ in range(rng.randint(2, 6))]
    return rng.choice(TEXT_INPUTS[1:])
