"""Short programs: what they print, and programs written from words. No functions of one expression, which are a task.

x = 4 / x = x + 7 / print(x)                          -> 11
Set n to 3, then print the word lamp n times.          -> n = 3 / for i in range(n): / …
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import copy_word, noun, several
from esft_lightning.embedded.math import chain
from esft_lightning.embedded.pools import name, number

__all__ = ["outputs", "written"]

_LETTERS = "abknpqrtuvwxyz"
_SIGNS = {"+": "add {}", "-": "take away {}", "*": "multiply by {}", "/": "divide by {}"}


def _values(rng: random.Random) -> list[str]:
    return several(lambda: rng.choice((copy_word, noun, name))(rng), rng.randint(2, 6))


# each draws a program and the same in words
def _sums(rng: random.Random) -> tuple[str, str]:
    variable, steps = rng.choice(_LETTERS), chain(rng, rng.randint(1, 2))
    lines, words = [f"{variable} = {steps[0].left}"], [f"Set {variable} to {steps[0].left}"]
    for _, sign, operand, _ in steps:
        lines.append(f"{variable} = {variable} {'//' if sign == '/' else sign} {operand}")
        words.append(_SIGNS[sign].format(operand))
    return "\n".join([*lines, f"print({variable})"]), f"{', '.join(words)} and print it."


def _lookup(rng: random.Random) -> tuple[str, str]:
    table, keys = rng.choice(_LETTERS), _values(rng)
    pairs = {key: number(rng, 2, 999) for key in keys}
    key = rng.choice(keys)
    return (
        f"{table} = {pairs!r}\nprint({table}[{key!r}])",
        f"Put {', '.join(f'{k} as {v}' for k, v in pairs.items())} into the dict {table} and print the entry of {key}.",
    )


def _loop(rng: random.Random) -> tuple[str, str]:
    listed, item, values = *rng.sample(_LETTERS, 2), _values(rng)
    shown = rng.choice(("{i}", "{i}.upper()", "len({i})", "{i}[0]", "{i} + '!'"))
    said = {"{i}": "each", "{i}.upper()": "each in capitals", "len({i})": "the length of each"}
    said |= {"{i}[0]": "the first letter of each", "{i} + '!'": "each with an exclamation mark"}
    return (
        f"{listed} = {values!r}\nfor {item} in {listed}:\n    print({shown.format(i=item)})",
        f"Go through the list {listed} of {', '.join(values)} as {item} and print {said[shown]}.",
    )


def _branch(rng: random.Random) -> tuple[str, str]:
    variable, one, two = rng.choice(_LETTERS), *several(lambda: copy_word(rng), 2)
    value, bound = rng.randint(1, 60), rng.randint(1, 60)
    sign, said = rng.choice(((">", "more than"), ("<", "less than"), ("==", "equal to")))
    return (
        f"{variable} = {value}\nif {variable} {sign} {bound}:\n    print({one!r})\nelse:\n    print({two!r})",
        f"Set {variable} to {value}; if it is {said} {bound}, print {one}, else print {two}.",
    )


def _pick(rng: random.Random) -> tuple[str, str]:
    listed, values = rng.choice(_LETTERS), _values(rng)
    place = rng.randrange(len(values))
    asked, said = rng.choice(
        (
            (f"{listed}[{place}]", f"item {place} of it"),
            (f"{listed}[-1]", "its last item"),
            (f"len({listed})", "its length"),
            (f"sorted({listed})[0]", "its first item in sorted order"),
            (f"', '.join({listed})", "all of it, joined by commas"),
        )
    )
    return f"{listed} = {values!r}\nprint({asked})", f"Make a list {listed} of {', '.join(values)} and print {said}."


def _repeat(rng: random.Random) -> tuple[str, str]:
    variable, word, times = rng.choice(_LETTERS), copy_word(rng), rng.randint(2, 5)
    return (
        f"{variable} = {times}\nfor i in range({variable}):\n    print({word!r}, i)",
        f"Set {variable} to {times}; print {word} and the round that often, counting from 0.",
    )


def _object(rng: random.Random) -> tuple[str, str]:
    kind, value, other = noun(rng).capitalize(), name(rng), number(rng, 2, 999)
    field = rng.choice(("owner", "town", "mark"))
    return (
        f"class {kind}:\n    size = {other}\n\n"
        f"item = {kind}()\nitem.{field} = {value!r}\nprint(item.{field}, item.size)",
        f"Define a class {kind} of size {other}; make an item, set its {field} to {value}, print that and the size.",
    )


_PROGRAMS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
    *(_sums, _lookup, _loop, _branch, _pick, _repeat, _object),
)


def _printed(program: str) -> str:
    """What a program of this file prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {})
    return out.getvalue().rstrip("\n")


def outputs(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: what a program prints."""
    program = rng.choice(_PROGRAMS)
    order = rng.choice(("{}\nWhat does it print?", "What is printed?\n{}", "Run:\n{}\nOutput:", "{}\n# prints:"))

    def draw(rng: random.Random) -> tuple[str, str]:
        lines, _ = program(rng)
        return order.replace("{}", lines), _printed(lines)

    return draw


def written(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a program from words, or words for a program."""
    program, back = rng.choice(_PROGRAMS), rng.random() < 0.3
    order = rng.choice(
        ("What does this do?\n{}", "Say in words:\n{}")
        if back
        else ("{}", "Python: {}", "Write a script. {}", "{}\nCode:")
    )

    def draw(rng: random.Random) -> tuple[str, str]:
        lines, words = program(rng)
        return (order.replace("{}", lines), words) if back else (order.replace("{}", words), lines)

    return draw
