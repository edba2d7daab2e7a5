"""Records: what a sentence says, filled into JSON, lists, notes, tables and blanks.

One question and its answer::

    We got a heavy lamp from Quanzin, weighing 412 kilos, no, 408 kilos, painted blue. Give origin, weight and paint as
    JSON. Paint: red = R4, blue = B7.
    {"origin": "Quanzin", "weight": "408", "paint": "B7"}

Sentences are put together of clauses in any order, some of them about nothing that is asked; a value may be corrected
as it is said; a value may stand for a code that a table in the question gives. This file knows records, not few-shot
prompts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import ADJECTIVES, code, noun, several
from esft_lightning.embedded.pools import name, number, person, word

__all__ = ["FORMATS", "records"]

Pairs = Sequence[tuple[str, str]]

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COLORS = ("red", "blue", "green", "white", "black", "yellow", "gray", "brown")
_STUFFS = ("oak", "iron", "glass", "wool", "clay", "paper", "stone", "copper")


def _time(rng: random.Random) -> str:
    return f"{rng.randint(1, 12)}:{rng.randrange(60):02d}"


FIELDS: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]] = {
    "owner": (name, ("owned by {}", "which belongs to {}", "the property of {}")),
    "port": (name, ("bound for {}", "on its way to {}", "going to {}")),
    "origin": (name, ("from {}", "sent out from {}", "that comes from {}")),
    "weight": (lambda rng: str(number(rng, 100, 999)), ("weighing {} kilos", "of {} kilos", "with {} kilos of weight")),
    "hour": (_time, ("at {}", "around {}", "not before {}")),
    "shelf": (code, ("on shelf {}", "kept in rack {}", "beside shelf {}")),
    "guest": (person, ("for {}", "on behalf of {}", "as asked by {}")),
    "paint": (lambda rng: rng.choice(_COLORS), ("painted {}", "all in {}", "of a {} color")),
    "weekday": (lambda rng: rng.choice(_DAYS), ("due {}", "seen on {}", "ready by {}")),
    "price": (lambda rng: str(number(rng, 2, 9999)), ("priced at {}", "worth {} coins", "that costs {}")),
    "amount": (lambda rng: str(rng.randint(2, 99)), ("{} of them", "{} in all", "with {} pieces")),
    "driver": (name, ("driven by {}", "with {} at the wheel", "that {} drives")),
    "stuff": (lambda rng: rng.choice(_STUFFS), ("made of {}", "out of {}", "cut from {}")),
    "phone": (lambda rng: str(number(rng, 1000, 9999)), ("phone {}", "to be reached at {}", "under number {}")),
    "team": (name, ("for team {}", "in the service of {}", "with the crew of {}")),
    "street": (name, ("in {} Street", "near {} Street", "at the end of {} Street")),
    "mark": (word, ('marked "{}"', 'with the word "{}" on it', 'labeled "{}"')),
    "topic": (noun, ("about the {}", "with a drawing of the {}", "next to the {}")),
}
"""field → what draws its value, and clauses that say it."""

_CODED = {"paint": _COLORS, "weekday": _DAYS, "stuff": _STUFFS}
_KINDS: dict[str, tuple[str, ...]] = {
    "delivery": ("We got {}", "There came {}", "A van brought {}"),
    "loss": ("Somebody lost {}", "We miss {}", "Nobody can find {}"),
    "sale": ("I sell {}", "On offer is {}", "For sale: {}"),
    "repair": ("Please mend {}", "Broken is {}", "To be repaired: {}"),
    "loan": ("May I borrow {}", "Lend me {}", "I would like to use {}"),
    "storage": ("Put away {}", "Keep {}", "Please store {}"),
}
"""kind of a record → how its sentences open."""

_SLIPS = (", no, ", ", or rather ", ", sorry, ", " - correction: ", ", not that but ", ", wait, ")
_ASIDES = (
    "The weather was fine.",
    "Nobody was there.",
    "It took a while.",
    "That is all we know.",
    "The rest can wait.",
    "Thank you.",
    "More tomorrow.",
)


def _quoted(pairs: Pairs) -> str:
    return json.dumps(dict(pairs))


FORMATS: dict[str, Callable[[Pairs], str]] = {
    "JSON": _quoted,
    "JSON in a list": lambda pairs: json.dumps([dict(pairs)]),
    "a JSON list": lambda pairs: json.dumps([value for _, value in pairs]),
    "lines": lambda pairs: "\n".join(f"{key}: {value}" for key, value in pairs),
    "a list": lambda pairs: "\n".join(f"- {key}: {value}" for key, value in pairs),
    "a note": lambda pairs: "; ".join(f"{key} {value}" for key, value in pairs) + ".",
    "assignments": lambda pairs: ", ".join(f"{key}={value}" for key, value in pairs),
    "a row": lambda pairs: " | ".join(value for _, value in pairs),
    "tags": lambda pairs: "".join(f"<{key}>{value}</{key}>" for key, value in pairs),
    "values": lambda pairs: ", ".join(value for _, value in pairs),
    "a sentence": lambda pairs: "It says " + " and ".join(f"{value} as the {key}" for key, value in pairs) + ".",
}
"""What an answer may look like."""

_ORDERS = (
    "Give {keys} as {format}.",
    "Write {keys} as {format}.",
    "Fill in: {blank}",
    "Answer with {keys}, as {format}: {blank}",
    "What are {keys}? As {format}.",
)


@dataclass(frozen=True)
class _Frame:
    """What the questions of one prompt share.

    Attributes:
        keys: Asked field → how the answer names it.
        render: Writes the answer.
        order: What is asked, in words; empty where examples show it.
        kind_key: How the answer names the kind of the record; empty when it does not.
        nested: The key under which the fields stand when the answer is an object with its kind.
        first: Whether the order stands before the sentence.
        cue: What the question ends in.
        codes: Field → value → code.
        fresh_codes: Whether every question draws codes of its own.
    """

    keys: dict[str, str]
    render: Callable[[Pairs], str]
    order: str
    kind_key: str
    nested: str
    first: bool
    cue: str
    coded: str
    codes: dict[str, str]
    fresh_codes: bool


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _code_table(rng: random.Random, field: str) -> dict[str, str]:
    made = several(lambda: code(rng) if rng.random() < 0.7 else word(rng), len(_CODED[field]))
    return dict(zip(_CODED[field], made, strict=True))


def _frame(rng: random.Random, shown: bool) -> _Frame:
    fields = rng.sample(list(FIELDS), rng.randint(1, 4))
    renamed = rng.random() < 0.3
    keys = {field: word(rng) if renamed and rng.random() < 0.6 else field for field in fields}
    wanted = rng.choice(list(FORMATS))
    render = FORMATS[wanted]
    kind_key = nested = ""
    if rng.random() < 0.25:
        wanted, render = "JSON", _quoted
        kind_key, nested = (
            rng.choice(("kind", "sort", "type", "case")),
            rng.choice(("data", "fields", "with", "values")),
        )
    named = [key if key == field else f"{field} as {key}" for field, key in keys.items()]
    blank = render([(key, "...") for key in keys.values()])
    if kind_key:
        blank = json.dumps({kind_key: "|".join(_KINDS), nested: dict.fromkeys(keys.values(), "...")})
    template = rng.choice(_ORDERS)
    order = template.format(keys=_listed(named), format=wanted, blank=blank)
    if (kind_key or renamed) and "{blank}" not in template:
        order += f" Form: {blank}"
    coded = rng.choice([field for field in fields if field in _CODED] or [""]) if rng.random() < 0.7 else ""
    return _Frame(
        keys=keys,
        render=render,
        order="" if shown and rng.random() < 0.45 else order,
        kind_key=kind_key,
        nested=nested,
        first=rng.random() < 0.5,
        cue=rng.choice(("", "", "\nAnswer:", "\nRecord:", " ->", "\nNote:", "\nOut:")),
        coded=coded,
        codes=_code_table(rng, coded) if coded else {},
        fresh_codes=rng.random() < 0.6,
    )


def _said(rng: random.Random, field: str, value: str) -> str:
    draw, clauses = FIELDS[field]
    clause = rng.choice(clauses)
    if rng.random() < 0.12 and (other := draw(rng)) != value:
        return clause.format(f"{other}{rng.choice(_SLIPS)}{value}")
    return clause.format(value)


def _sentence(rng: random.Random, kind: str, values: dict[str, str]) -> str:
    """What is said of a thing: its clauses in any order, in one sentence or two, with asides now and then."""
    thing = f"{rng.choice(('a', 'the', 'one', 'that'))} {rng.choice(ADJECTIVES)} {noun(rng)}"
    clauses = [_said(rng, field, value) for field, value in values.items()]
    rng.shuffle(clauses)
    cut = rng.randint(1, len(clauses)) if rng.random() < 0.4 else len(clauses)
    text = f"{rng.choice(_KINDS[kind]).format(thing)} {', '.join(clauses[:cut])}."
    if clauses[cut:]:
        text += f" {rng.choice(('It is', 'Remember,', 'And'))} {', '.join(clauses[cut:])}."
    if rng.random() < 0.2:
        text = f"{rng.choice(_ASIDES)} {text}" if rng.random() < 0.5 else f"{text} {rng.choice(_ASIDES)}"
    return text


def records(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a record to be filled in from a sentence."""
    frame = _frame(rng, shown)

    def draw(rng: random.Random) -> tuple[str, str]:
        others = [field for field in FIELDS if field not in frame.keys]
        said = [*frame.keys, *rng.sample(others, rng.choice((0, 0, 1, 1, 2)))]
        values = {field: FIELDS[field][0](rng) for field in said}
        kind = rng.choice(list(_KINDS))
        text = _sentence(rng, kind, values)
        table = ""
        if frame.coded:
            codes = _code_table(rng, frame.coded) if frame.fresh_codes else frame.codes
            spoken = values[frame.coded]
            values[frame.coded] = codes[spoken]
            listed = list(codes)
            rng.shuffle(listed)
            kept = sorted({spoken, *listed[: rng.randint(2, 6)]}, key=listed.index)
            table = f"{frame.coded.capitalize()}: {', '.join(f'{key} = {codes[key]}' for key in kept)}."
        pairs = [(key, values[field]) for field, key in frame.keys.items()]
        answer = frame.render(pairs)
        if frame.kind_key:
            answer = json.dumps({frame.kind_key: kind, frame.nested: dict(pairs)})
        asked = " ".join(part for part in (table, frame.order) if part)
        parts = [asked, text] if frame.first else [text, asked]
        return rng.choice(("\n", " ")).join(part for part in parts if part) + frame.cue, answer

    return draw
