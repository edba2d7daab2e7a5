"""Instructions with a checkable form: repeat, capitals, commas, quotation marks, reverse order and the like.

Every function draws one ``(user, assistant)`` pair, for example
``("Repeat the word lamp three times.", "lamp lamp lamp")``. The ``format`` probe asks for the same forms in wordings
that no pair uses. Rules that check answers are in :mod:`esft_lightning.metrics.general`.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["FORMS", "NUMBERS", "WORDS", "copy_word"]

WORDS = (
    "lamp river stone garden window bottle candle ladder bridge forest pencil basket mirror button carpet hammer "
    "kettle ribbon saddle tunnel wagon anchor blanket castle feather island jacket market orange pillow rabbit silver "
    "table village winter yellow apple bread cloud door engine field glass house iron knife leaf moon nest ocean paper "
    "queen road salt tree uncle voice wall year zebra ball cup dog egg fish goat hat ice"
).split()

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
FRUITS = "apple pear plum cherry lemon grape peach fig".split()
_SYLLABLES = "ba ber cal cor dan del fin gar hol jun kel lan mer nor os pan quin rav sel tor ul ven wes yar zin".split()
_TIMES = {"two": 2, "three": 3, "four": 4}


def copy_word(rng: random.Random) -> str:
    """A word to be copied: known, or made up of syllables, so that copying cannot be learned word by word."""
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3)))


def _words(rng: random.Random, least: int, most: int) -> list[str]:
    return [copy_word(rng) for _ in range(rng.randint(least, most))]


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


FORMS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
    *(_repeat, _capitals, _commas, _fruits, _full_stop, _quotes, _reverse, _number_word),
)
"""Every kind of instruction; call one with a generator of random numbers."""
