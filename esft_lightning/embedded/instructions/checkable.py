"""Instructions with a checkable form: repeat, capitals, commas, quotation marks, reverse order and the like.

Every function draws one ``(user, assistant)`` pair, for example
``("Repeat the word lamp three times.", "lamp lamp lamp")``. The ``format`` probe asks for the same forms in wordings
that no pair uses. Rules that check answers are in :mod:`esft_lightning.scoring.general`.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from collections.abc import Callable

from esft_lightning.embedded.instructions.words import NUMBERS, WORDS, copy_value, copy_word

__all__ = ["FORMS", "echo_text", "lookup_text"]

FRUITS = "apple pear plum cherry lemon grape peach fig".split()
_TIMES = {"two": 2, "three": 3, "four": 4}


def _words(rng: random.Random, least: int, most: int) -> list[str]:
    return [copy_word(rng) for _ in range(rng.randint(least, most))]


def echo_text(rng: random.Random) -> str:
    """A line of things and the same line once or twice more: a document in which only copying helps."""
    line = rng.choice((" ", ", ", "; ")).join(copy_value(rng) for _ in range(rng.randint(4, 12)))
    return "\n".join([line] * rng.randint(2, 3))


def lookup_text(rng: random.Random) -> str:
    """A list of names with their values, then the same pairs in another order."""
    names = [name.capitalize() for name in dict.fromkeys(_words(rng, 3, 7))]
    pairs = [(name, copy_value(rng)) for name in names]
    form = rng.choice(("{}: {}", "{} = {}", "{} has {}", "({}, {})", '"{}": "{}"'))
    again = rng.choice((form, "{} -> {}", "{} gets {}", '{{"{}": "{}"}}'))
    first = "\n".join(form.format(*pair) for pair in pairs)
    rng.shuffle(pairs)
    return first + "\n\n" + "\n".join(again.format(*pair) for pair in pairs)


def _repeat(rng: random.Random) -> tuple[str, str]:
    word, times = copy_word(rng), rng.choice(list(_TIMES))
    ask = rng.choice(
        (
            "Repeat the word {w} {n} times.",
            "Write {w} {n} times.",
            "Say the word {w} {n} times.",
            "Please repeat {w} {n} times.",
        )
    )
    return ask.format(w=word, n=times), " ".join([word] * _TIMES[times])


def _capitals(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(WORDS)
    ask = rng.choice(("Write the word {w} in capitals.", "Answer in capitals: {w}", "Write {w} in capital letters."))
    return ask.format(w=word), word.upper()


def _commas(rng: random.Random) -> tuple[str, str]:
    words = _words(rng, 2, 4)
    ask = rng.choice(
        (
            "Separate these words by commas: {w}",
            "Write with commas between the words: {w}",
            "Write these words, separated by commas: {w}",
        )
    )
    return ask.format(w=" ".join(words)), ", ".join(words)


def _fruits(rng: random.Random) -> tuple[str, str]:
    number = rng.choice(list(_TIMES))
    ask = rng.choice(("List {n} fruits separated by commas.", "Name {n} fruits. Separate them by commas."))
    return ask.format(n=number), ", ".join(rng.sample(FRUITS, _TIMES[number]))


def _full_stop(rng: random.Random) -> tuple[str, str]:
    words = " ".join(_words(rng, 1, 3))
    ask = rng.choice(
        (
            "Copy this and end with a full stop: {w}",
            "Copy and put a full stop at the end: {w}",
            "Copy this and put a full stop at the end: {w}",
        )
    )
    return ask.format(w=words), f"{words}."


def _quotes(rng: random.Random) -> tuple[str, str]:
    ask = rng.choice(
        ("Put the word {w} in quotation marks.", "Write {w} in quotation marks.", "Please put {w} in quotation marks.")
    )
    word = copy_word(rng)
    return ask.format(w=word), f'"{word}"'


def _reverse(rng: random.Random) -> tuple[str, str]:
    words = _words(rng, 2, 3)
    ask = rng.choice(
        (
            "Write these words in reverse order: {w}",
            "Turn the order of these words around: {w}",
            "Write these in reverse order: {w}",
        )
    )
    return ask.format(w=" ".join(words)), " ".join(reversed(words))


def _number_word(rng: random.Random) -> tuple[str, str]:
    number = rng.randrange(len(NUMBERS))
    ask = rng.choice(("Write the number {n} as a word.", "Spell the number {n}."))
    return ask.format(n=number), NUMBERS[number]


def _next_word(rng: random.Random) -> tuple[str, str]:
    words = list(dict.fromkeys(["the", *(copy_value(rng) for _ in range(rng.randint(4, 7)))]))
    place = rng.randrange(len(words) - 1)
    ask = rng.choice(("What comes after {a} in: {w}", "In the line {w}, what follows {a}?", "What follows {a}? {w}"))
    return ask.format(a=words[place], w=" ".join(words)), words[place + 1]


def _field(rng: random.Random) -> tuple[str, str]:
    names = rng.sample(WORDS, rng.randint(2, 5))
    pairs = [(name, copy_value(rng)) for name in names]
    form = rng.choice(("{}: {}", "the {} is {}", "{} = {}", "{} goes to {}"))
    listed = rng.choice((", ", "; ", " | ")).join(form.format(*pair) for pair in pairs)
    name, value = rng.choice(pairs)
    ask = rng.choice(("{l}. Give the value of {n}.", "Look up {n} here: {l}", "What stands beside {n}? {l}"))
    return ask.format(l=listed, n=name), value


FORMS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
    *(_repeat, _capitals, _commas, _fruits, _full_stop, _quotes, _reverse, _number_word, _next_word, _field),
)
"""Every kind of instruction; the `format` probe asks for all but the last two.

Call one with a generator of random numbers."""
