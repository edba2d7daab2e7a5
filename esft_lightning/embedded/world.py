"""An invented world: people, towns and countries with a few hundred fixed facts, told in several phrasings.

The facts stand in for what a large model knows of the real world: the tiny model meets them in pretraining, and a
probe asks for them later in wordings that it never met. The world is the same for every seed.

One fact, its statement, a question asked in pretraining and one kept for the probes::

    Fact(kind="home", subject="Fenlan Corber", value="Holdel")
    "Fenlan Corber lives in Holdel."
    "Where does Fenlan Corber live?"               -> "Holdel."
    "In which town is the home of Fenlan Corber?"  -> "Holdel."   (probes only)

This file knows facts and wordings. It does not know chat formats, mixtures or models.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from esft_lightning.embedded import pools

__all__ = ["KINDS", "Fact", "FactKind", "choice_question", "facts", "statement", "values"]

_WORLD_SEED = 20240702
_PEOPLE, _TOWNS, _COUNTRIES = 72, 36, 12

CRAFTS = "baker smith weaver potter fisher miller tailor painter sailor doctor farmer mason singer teacher".split()
COLORS = "red blue green yellow purple orange brown white black gray pink silver".split()
ANIMALS = "dog cat horse goat parrot rabbit hawk tortoise pony goose donkey falcon".split()
GOODS = "glass honey salt cheese boats lamps carpets bells apples paper knives wool".split()
DRINKS = "tea milk cider coffee lemonade cocoa".split()


@dataclass(frozen=True)
class FactKind:
    """One relation of the world and how it is put into words.

    Attributes:
        name: Relation, for example ``"home"``.
        statements: Phrasings of documents; ``{s}`` is the subject and ``{v}`` the value.
        questions: Questions that pretraining chats ask.
        probe_questions: Questions that only the probes ask.
    """

    name: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    probe_questions: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """A fact of the invented world: ``kind`` holds between ``subject`` and ``value``."""

    kind: str
    subject: str
    value: str


KINDS: dict[str, FactKind] = {
    kind.name: kind
    for kind in (
        FactKind(
            "home",
            ("{s} lives in {v}.", "The home of {s} is in {v}.", "{s} has a house in {v}.", "In {v} lives {s}."),
            ("Where does {s} live?", "In which town does {s} live?", "Where is the house of {s}?"),
            ("In which town is the home of {s}?", "Where does {s} have a house?"),
        ),
        FactKind(
            "craft",
            ("{s} is a {v}.", "{s} works as a {v}.", "The craft of {s} is that of a {v}.", "A {v} by trade is {s}."),
            ("What is the craft of {s}?", "What work does {s} do?", "What does {s} work as?"),
            ("What is {s} by trade?", "Which craft does {s} work at?"),
        ),
        FactKind(
            "color",
            ("{s} likes the color {v}.", "The favorite color of {s} is {v}.", "{s} always wears {v}."),
            ("What is the favorite color of {s}?", "Which color does {s} like?", "What color does {s} wear?"),
            ("Which color is the favorite of {s}?", "Which color does {s} always wear?"),
        ),
        FactKind(
            "animal",
            ("{s} keeps a {v}.", "{s} has a {v} at home.", "The animal of {s} is a {v}.", "A {v} belongs to {s}."),
            ("Which animal does {s} keep?", "What animal does {s} have at home?", "What is the animal of {s}?"),
            ("Which animal belongs to {s}?", "What animal does {s} keep at home?"),
        ),
        FactKind(
            "country",
            ("{s} is a town in {v}.", "{s} lies in {v}.", "In {v} lies the town of {s}.", "{s} belongs to {v}."),
            ("In which country is {s}?", "Where does {s} lie?", "Which country is {s} in?"),
            ("Which country does the town of {s} belong to?", "In which country does {s} lie?"),
        ),
        FactKind(
            "good",
            ("{s} is known for its {v}.", "People in {s} make {v}.", "The best {v} comes from {s}."),
            ("What is {s} known for?", "What do people in {s} make?", "What comes from {s}?"),
            ("What is the town of {s} known for?", "What do people make in {s}?"),
        ),
        FactKind(
            "capital",
            ("The capital of {s} is {v}.", "{v} is the capital of {s}.", "{s} is ruled from {v}, its capital."),
            ("What is the capital of {s}?", "Which town is the capital of {s}?", "Name the capital of {s}."),
            ("Which town is {s} ruled from?", "The capital of {s} is which town?"),
        ),
        FactKind(
            "money",
            ("People in {s} pay with the {v}.", "The money of {s} is the {v}.", "In {s} the coin is the {v}."),
            ("What is the money of {s}?", "What do people in {s} pay with?", "What is the coin of {s}?"),
            ("What is the money that people in {s} pay with?", "With which coin do people pay in {s}?"),
        ),
        FactKind(
            "drink",
            ("People in {s} drink {v}.", "The drink of {s} is {v}.", "In {s} everybody likes {v}."),
            ("What do people in {s} drink?", "What is the drink of {s}?", "Which drink do people in {s} like?"),
            ("Which drink does everybody like in {s}?", "What does everybody in {s} drink?"),
        ),
    )
}


@cache
def facts() -> tuple[Fact, ...]:
    """All facts of the world, in a fixed order (about 400); its names are of the pretraining pool."""
    rng = random.Random(_WORLD_SEED)
    names = list({pools.name(rng): None for _ in range(400)})
    people = [f"{names.pop()} {names.pop()}" for _ in range(_PEOPLE)]
    towns, countries, coins = ([names.pop() for _ in range(count)] for count in (_TOWNS, _COUNTRIES, _COUNTRIES))
    made = []
    for person in people:
        made += [
            Fact("home", person, rng.choice(towns)),
            Fact("craft", person, rng.choice(CRAFTS)),
            Fact("color", person, rng.choice(COLORS)),
            Fact("animal", person, rng.choice(ANIMALS)),
        ]
    for number, town in enumerate(towns):
        made += [Fact("country", town, countries[number % _COUNTRIES]), Fact("good", town, rng.choice(GOODS))]
    for number, country in enumerate(countries):
        made += [
            Fact("capital", country, towns[number]),
            Fact("money", country, coins[number].lower()),
            Fact("drink", country, rng.choice(DRINKS)),
        ]
    return tuple(made)


@cache
def values(kind: str) -> tuple[str, ...]:
    """Every value that relation ``kind`` takes somewhere in the world, sorted."""
    return tuple(sorted({fact.value for fact in facts() if fact.kind == kind}))


def statement(fact: Fact, rng: random.Random) -> str:
    """``fact`` as a sentence, in a phrasing drawn with ``rng``."""
    return rng.choice(KINDS[fact.kind].statements).format(s=fact.subject, v=fact.value)


def choice_question(text: str, options: list[str]) -> str:
    """``text`` followed by the options to choose from."""
    return f"{text} Choose: {', '.join(options[:-1])} or {options[-1]}."
