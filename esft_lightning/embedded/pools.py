"""Four pools that share no name, no copied value and no worked content: pretraining, train, validation and test.

Which pool a thing belongs to is a hash of the thing itself, so that no list has to be kept: whoever makes text for a
pool draws words, names and numbers here, and whatever stands in a validation or test row cannot be drawn for
pretraining, however long it is::

    word(rng, "test")            -> "zifsop"        never a word of another pool
    person(rng, "pretraining")   -> "Halralkin Jedvut"
    number(rng, 1000, 9999, "validation") -> 9818
    pool_of("x * 3 + 5")         -> "train"          contents: worked chains of math, bodies of code

What is shared by all pools is the language (English words, numbers below 100, Python) and the world that the tasks
speak of (what an offence means, what the help desk calls a fault, the lexicon of Velm). This file knows no task.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from hashlib import blake2b
from typing import Literal

__all__ = ["POOLS", "SYLLABLES", "Pool", "held_out", "name", "number", "person", "pool_of", "row_pool_of", "word"]

Pool = Literal["pretraining", "train", "validation", "test"]
POOLS: tuple[Pool, ...] = ("pretraining", "train", "validation", "test")
_UP_TO = {"pretraining": 50, "train": 75, "validation": 85, "test": 100}
"""Pool → percentage at which it ends."""

SYLLABLES = (
    "ban bax bez bod bop buv dag dap dem dex din dit dus dux fak fav fel fez fik fiv fon fot fub fuv gar gat ged gex "
    "gir giv gub guz hal hap hed hez hil hiz hom hos hun hus jad jar jed jek jid jip jop jov jub jum kal kaz ker kez "
    "kin kix kod kor kug kut lab lav lem lev lir lod lug lus meg mek mip mob mot mux muz nad nat nem nez nik nom nos "
    "nuf nuz pav pev pib pir pob por puf ral rax rez ris riv rod rul rux saz sev son sop sud suv tas tax tev tiz ton "
    "tov tuf tun vaf vap vel vex vig vil vok vox vut vuz wap war weg wez wib wif wos wov wur wuz zag zal zeb zem zif "
    "zok zos zun zut "
).split()
"""What made-up words are made of: 144, no English words. With 36 a small model did not learn to copy, since what stands
before a syllable then hardly tells what follows."""

_HELD_OUT_EVERY = 40


def _hash(content: str) -> int:
    return int.from_bytes(blake2b(content.lower().encode(), digest_size=4).digest(), "little")


def pool_of(content: str) -> Pool:
    """The pool that a content belongs to, case ignored."""
    percent = _hash(content) % 100
    return next(pool for pool in POOLS if percent < _UP_TO[pool])


def row_pool_of(content: str) -> Pool:
    """The pool among `train`, `validation` and `test` of a content that pretraining may hold as well."""
    percent = 50 + _hash(content) % 50
    return next(pool for pool in POOLS if percent < _UP_TO[pool])


def held_out(text: str) -> bool:
    """Whether a text of the corpus is kept for held-out losses (one in forty) instead of being read in pretraining."""
    return _hash(f"held out {text}") % _HELD_OUT_EVERY == 0


def word(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A made-up word of two or three syllables, in small letters."""
    while True:
        made = "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 2, 3))))
        if pool_of(made) == pool:
            return made


def name(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A made-up word with a capital: a town, a person, a brand."""
    return word(rng, pool).capitalize()


def person(rng: random.Random, pool: Pool = "pretraining") -> str:
    """A given name and a family name."""
    return f"{name(rng, pool)} {name(rng, pool)}"


def number(rng: random.Random, low: int, high: int, pool: Pool = "pretraining") -> int:
    """A whole number in `low..high`.

    Numbers from 100 on belong to one of the four pools. Those below are everybody's in pretraining, and belong to one
    of the other three in rows.
    """
    while True:
        drawn = rng.randint(low, high)
        if drawn < 100 and (pool == "pretraining" or row_pool_of(f"number {drawn}") == pool):
            return drawn
        if drawn >= 100 and pool_of(f"number {drawn}") == pool:
            return drawn
