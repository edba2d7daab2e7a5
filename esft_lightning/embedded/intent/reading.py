"""What pretraining reads of houses and requests: plans with codes, logs, guides to words, talk, JSON of other shapes.

No text here has an utterance of a row, the keys `"intent"` and `"slots"`, or a request with its answer.
"""

import json
import random
from collections.abc import Callable, Iterator

from esft_lightning.embedded.intent.values import code_table, value
from esft_lightning.embedded.intent.wordings import CODED, CORRECTIONS, POLITE, SCHEMA, UTTERANCES
from esft_lightning.embedded.pools import name, number, word

__all__ = ["documents"]


def _statement(rng: random.Random) -> str:
    """A statement in the wordings of pretraining, some of its values taken back."""
    intent = rng.choice(list(SCHEMA))
    spoken = {}
    for slot in SCHEMA[intent]:
        drawn = [
            rng.choice(CODED[slot][key]) if slot in CODED else key
            for key in (
                rng.sample(list(CODED[slot]), 2)
                if slot in CODED
                else [value(rng, slot, "pretraining") for _ in range(2)]
            )
        ]
        slip = slot != "state" and rng.random() < 0.2
        spoken[slot] = (
            rng.choice(CORRECTIONS["pretraining"]).format(wrong=drawn[1], right=drawn[0]) if slip else drawn[0]
        )
    told = rng.choice(UTTERANCES[intent]["pretraining"]).format(**spoken)
    return rng.choice(POLITE["pretraining"]).format(told)


def _talk(rng: random.Random) -> str:
    """People repeat each other's words: text in which what was said is said again."""
    lines = []
    for _ in range(rng.randint(1, 4)):
        one, two, said = name(rng), name(rng), _statement(rng)
        lines.append(f"{one}: {said}\n{two}: {rng.choice(('oh', 'I see', 'really'))}, {said}?")
        if rng.random() < 0.5:
            lines.append(f'{one}: yes, and "{word(rng)}" too')
    return "\n".join(lines)


def _plan(rng: random.Random) -> str:
    """The plan of a house: a table of codes, and then sentences that use it."""
    slot = rng.choice(list(CODED))
    table = code_table(rng, slot, rng.randint(3, 5), "pretraining")
    form = rng.choice(("{}={}", "{}: {}", "{} is {}", "{} ({})", "{} -> {}"))
    lines = [
        f"List of {slot}s, {name(rng)} house",
        rng.choice((", ", "; ", "\n")).join(form.format(*e) for e in table.items()),
    ]
    keys = list(table)
    rng.shuffle(keys)
    for key in keys:
        said = rng.choice((key, *CODED[slot][key]))
        lines.append(
            rng.choice(
                (
                    f"{name(rng)} says {said}, which has the code {table[key]}.",
                    f"Look up {said}: {table[key]}.",
                    f"{table[key]} stands for {key}, as in {said}.",
                    f'Where {name(rng)} wrote "{said}", the list has {table[key]}.',
                )
            )
        )
    return "\n".join(lines)


def _guide(rng: random.Random) -> str:
    """Which words mean the same."""
    lines = [f"How they speak in {name(rng)}."]
    for _ in range(rng.randint(2, 7)):
        slot = rng.choice(list(CODED))
        key = rng.choice(list(CODED[slot]))
        one, two = CODED[slot][key]
        lines.append(
            rng.choice(
                (
                    f'"{one}" and "{two}" are the same {slot}: {key}.',
                    f'{name(rng)} calls it "{two}", others say "{one}"; the {slot} is {key}.',
                    f'As a {slot}, "{two}" counts as {key}.',
                    f'For {key}, {name(rng)} may say "{one}".',
                )
            )
        )
    return " ".join(lines)


def _log(rng: random.Random) -> str:
    """Statements, each with a flat JSON record in other keys than answers have."""
    slot = rng.choice(list(CODED))
    table = code_table(rng, slot, rng.randint(3, 5), "pretraining")
    lines = ["Codes: " + ", ".join(f"{key}={code}" for key, code in table.items())]
    for _ in range(rng.randint(1, 5)):
        who, thing, key = name(rng), word(rng), rng.choice(list(table))
        amount = number(rng, 2, 999)
        said = rng.choice(CODED[slot][key])
        record: dict[str, object] = {"who": who, "code": table[key]}
        told = f'{who} noted "{said}"'
        if rng.random() < 0.5:
            told += f" for {thing}"
            record["thing"] = thing
        if rng.random() < 0.5:
            told += f" and {amount} coins"
            record["coins"] = amount
        lines.append(f"{told}.\n{json.dumps(record)}")
    return "\n".join(lines)


_FIELDS = ("name", "home", "work", "seen", "price", "thing", "place", "at", "kind", "made_by")


def _record(rng: random.Random) -> str:
    """A sentence or a list of `key: value`, and the same as JSON, or the other way round."""
    pieces = []
    for _ in range(rng.randint(1, 3)):
        keys = rng.sample(_FIELDS, rng.randint(2, 5))
        values = [rng.choice((name(rng), word(rng), str(number(rng, 2, 9999)))) for _ in keys]
        told = rng.choice(("; ", ", ", "\n")).join(
            rng.choice(("{}: {}", "the {} is {}", "{} {}")).format(*pair) for pair in zip(keys, values, strict=True)
        )
        card = json.dumps(dict(zip(keys, values, strict=True)))
        pieces.append(f"{told}\n{card}" if rng.random() < 0.7 else f"{card}\n{told}")
    return "\n\n".join(pieces)


def _manual(rng: random.Random) -> str:
    """A page on what a house understands: which slots a request has, and what a person wanted."""
    lines = [f"Manual of the {name(rng)} house."]
    for intent in rng.sample(list(SCHEMA), rng.randint(2, 5)):
        slots = SCHEMA[intent]
        lines.append(
            rng.choice(
                (
                    f"{intent}({', '.join(slots)}): as when {_statement_of(rng, intent)}.",
                    f"A {intent} has {' and '.join(slots)}.",
                    f"{name(rng)} explains: {_statement_of(rng, intent)}, that is about {intent}.",
                )
            )
        )
    return "\n".join(lines)


def _statement_of(rng: random.Random, intent: str) -> str:
    spoken = {
        slot: rng.choice(rng.choice(list(CODED[slot].values()))) if slot in CODED else value(rng, slot, "pretraining")
        for slot in SCHEMA[intent]
    }
    return rng.choice(UTTERANCES[intent]["pretraining"]).format(**spoken)


_KINDS: dict[Callable[[random.Random], str], int] = {_talk: 2, _plan: 4, _guide: 2, _log: 4, _record: 3, _manual: 2}


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts of the domain."""
    while True:
        yield rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0](rng)
