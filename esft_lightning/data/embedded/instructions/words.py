"""Words, names and values that instructions are made of, of one pool at a time.

    noun(rng)          -> "ladder"                     everybody's
    copy_value(rng)    -> "Wesmer", "quanfin", 4131    made up, never met again
    code(rng)          -> "K37"

Ordinary English words and numbers below 100 are the language and belong to everybody; what is made up comes from
:mod:`esft_lightning.data.embedded.pools`. This file knows no instruction.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
import string
from collections.abc import Callable

from esft_lightning.data.embedded.pools import Pool, name, number, pool_of, word

__all__ = ["ADJECTIVES", "CLASSES", "NUMBERS", "VERBS", "WORDS", "code", "copy_value", "copy_word", "noun", "several"]

WORDS = (
    "lamp river stone garden window bottle candle ladder bridge forest pencil basket mirror button carpet hammer "
    "kettle ribbon saddle tunnel wagon anchor blanket castle feather island jacket market orange pillow rabbit silver "
    "table village winter yellow apple bread cloud door engine field glass house iron knife leaf moon nest ocean paper "
    "queen road salt tree uncle voice wall year zebra ball cup dog egg fish goat hat ice"
).split()

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()

ADJECTIVES = (
    "old new red blue green small large heavy light round flat long short warm cold clean dark bright soft hard dry "
    "wet quiet loud early late empty full broken strong weak narrow wide deep rare plain"
).split()

VERBS = (
    "carry find open close lift paint count weigh move build wash fold cut mend send fetch hide show lend borrow trade "
    "measure sort store load drop push pull test draw"
).split()

CLASSES: dict[str, tuple[str, ...]] = {
    label: tuple(members.split())
    for label, members in {
        "animals": "dog horse goat rabbit hawk tortoise donkey falcon otter badger heron mouse",
        "tools": "hammer saw drill chisel wrench spade rake pliers axe file shears trowel",
        "fruits": "apple pear plum cherry lemon grape peach fig melon apricot berry orange",
        "vehicles": "wagon ferry bicycle train truck barge sled tram canoe lorry cart taxi",
        "clothes": "coat hat scarf glove shirt sock boot apron jacket belt cap shawl",
        "furniture": "chair table shelf bench stool cupboard desk bed drawer sofa chest rack",
        "instruments": "drum flute fiddle harp trumpet piano lute bell horn organ whistle banjo",
        "dishes": "plate bowl cup saucer jug pan kettle ladle fork spoon tray mug",
        "trees": "oak elm birch willow maple cedar pine beech poplar alder ash larch",
        "weather": "rain snow hail fog wind frost storm thunder drizzle sleet mist gale",
    }.items()
}
"""What kinds of things there are: label → its members."""


def noun(rng: random.Random) -> str:
    """An ordinary thing."""
    return rng.choice(WORDS)


def copy_word(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A word to be copied: known, or made up of syllables, so that copying cannot be learned word by word."""
    return rng.choice(WORDS) if rng.random() < 0.35 else word(rng, pool)


def copy_value(rng: random.Random, pool: Pool = "pretraining") -> str:
    """Something to be copied: a word, a made-up name, a number, a time or a code."""
    kind = rng.randrange(6)
    if kind == 0:
        return copy_word(rng, pool)
    if kind <= 2:
        return name(rng, pool)
    if kind == 3:
        return str(number(rng, *rng.choice(((1, 99), (100, 999), (1000, 9999))), pool=pool))
    return f"{rng.randint(1, 12)}:{rng.randrange(60):02d}" if kind == 4 else code(rng, pool)


def code(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A short code of a capital letter or two and digits or letters, of one pool."""
    letters = string.ascii_uppercase
    while True:
        head = "".join(rng.choices(letters, k=rng.choice((1, 1, 2))))
        tail = (
            "".join(rng.choices(string.digits, k=rng.choice((1, 2, 2)))) if rng.random() < 0.7 else rng.choice(letters)
        )
        if pool_of(made := head + tail) == pool:
            return made


def several(draw: Callable[[], str], count: int) -> list[str]:
    """`count` different values of `draw()`, in drawing order; `draw` must have clearly more than that to give."""
    values: dict[str, None] = {}
    while len(values) < count:
        values.setdefault(draw())
    return list(values)
