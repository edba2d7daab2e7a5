"""Echoes: lines and pairs that are said again. Nothing but what stands before tells what comes next.

    lamp Quanzin 412 road, lamp Quanzin 412 road, lamp Quanzin 412 road
    tiger K3; needle Wesmer; 9:40 salt; needle Wesmer; tiger K3

Copying from the context is what all in-context ability stands on, and it is slow to form among other text: after 3.8M
tokens, of which 1.5M were of this kind, a small model copied 30 % of a repeated line's tokens. After 2M tokens of short
rows of this text alone, and with the optimizers of :mod:`esft_lightning.embedded.pretraining_run`, it copies 97 %. So
pretraining opens with it (:data:`esft_lightning.embedded.corpus.OPENING`). No task's text; made-up contents are of
the pretraining pool.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from esft_lightning.embedded.instructions.words import code, copy_value, copy_word, noun
from esft_lightning.embedded.pools import name, number, word

__all__ = ["documents"]

_ITEMS = (
    *(copy_value, copy_value, copy_word, noun, noun, name, word, code),
    lambda rng: str(number(rng, 1, 9999)),
)
_JOINTS = (" ", " ", ", ", "; ", " | ", "\n", " - ")
_LONGEST = 40  # items of a line


def _items(rng: random.Random) -> list[str]:
    """Two to forty things of one sort, short lines as often as long ones."""
    draw = rng.choice(_ITEMS)
    return [draw(rng) for _ in range(round(math.exp(rng.uniform(math.log(2), math.log(_LONGEST)))))]


def _line(rng: random.Random) -> str:
    """A line, again and again."""
    line = rng.choice(_JOINTS).join(_items(rng))
    return rng.choice(("\n", ", ", ". ", " ", " / ")).join([line] * rng.randint(2, 5))


def _pairs(rng: random.Random) -> str:
    """Pairs, then the same pairs in another order."""
    keys, values = _items(rng), rng.choice(_ITEMS)
    inner, outer = rng.choice((" ", ": ", "=", " -> ")), rng.choice((", ", "; ", "\n"))
    pairs = [f"{key}{inner}{values(rng)}" for key in dict.fromkeys(keys)]
    again = [pair for _ in range(rng.randint(1, 3)) for pair in rng.sample(pairs, len(pairs))]
    return outer.join([*pairs, *again])


def documents(rng: random.Random) -> Iterator[str]:
    """Endless echoes."""
    while True:
        yield _line(rng) if rng.random() < 0.65 else _pairs(rng)
