"""What pretraining reads of the desk: what its words mean, recorded calls with questions, lists of cases; never a note.

Everything is of the pretraining pool: brands, order numbers, turns. Which phrase means which label is told here for all
phrases, in sentences about words and not in calls; recorded calls have their own turns.
"""

import random
from collections.abc import Callable, Iterator

from esft_lightning.embedded.phrases import Phrases, every_phrase
from esft_lightning.embedded.pools import name, number
from esft_lightning.embedded.summary.calls import Call, draw_call, transcript
from esft_lightning.embedded.summary.lexicon import ACTIONS, DAYS, FAULTS, NOUNS, REMEDIES

__all__ = ["documents"]

_FAMILIES: tuple[tuple[str, Phrases], ...] = (("fault", FAULTS), ("wish", REMEDIES), ("promise", ACTIONS))


def _meaning(rng: random.Random) -> str:
    """One sentence on what a phrase means."""
    family, phrases = rng.choice(_FAMILIES)
    label = rng.choice(list(phrases))
    said, also = rng.sample(every_phrase(phrases, label), 2)
    who, where = name(rng), name(rng)
    return rng.choice(
        (
            f'"{said}" is filed by {who} under {label}.',
            f'If {who} of {where} says "{said}", the {family} is {label}.',
            f'{label.capitalize()} is the {family} of {who}, who says "{said}", and of {where}, who says "{also}".',
            f'{who} asks what "{said}" means. {where} answers: the {family} called {label}.',
            f'The {family} "{label}" has many names, "{said}" in {where}, "{also}" with {who}.',
            f'To say "{said}" is in {where} the same as to say "{also}" is for {who}: {label}.',
            f'"{said}", wrote {who}. So the desk in {where} put down {label}.',
        )
    )


def _handbook(rng: random.Random) -> str:
    head = rng.choice(("Handbook of the {} shop.", "Words at the desk of {}.", "{} teaches the new ones:"))
    return " ".join([head.format(name(rng)), *(_meaning(rng) for _ in range(rng.randint(2, 8)))])


def _recorded(rng: random.Random) -> str:
    """A call, and then what a listener asks about it, with short answers."""
    call = draw_call(rng, "pretraining")
    lines = [f"Call {number(rng, 1, 99)} to {name(rng)}.", *transcript(rng, call, "pretraining")]
    asked = [
        ("Which order is meant?", str(call.order)),
        ("What brand is it?", call.brand),
        ("What kind of thing?", call.noun),
        ("Until when?", call.day),
        ("How would the desk file the fault?", call.fault),
        ("How would it file the wish?", call.remedy),
        ("And the promise?", call.action),
    ]
    rng.shuffle(asked)
    lines += [f"{question} {answer}" for question, answer in asked[: rng.randint(2, 6)]]
    return "\n".join(lines)


def _report(rng: random.Random) -> str:
    """Cases told in prose, in the words of the desk."""
    lines = [f"{rng.choice(DAYS)} in {name(rng)}."]
    for _ in range(rng.randint(1, 5)):
        call = draw_call(rng, "pretraining")
        lines.append(
            rng.choice(
                (
                    f"Somebody brought a {call.noun} by {call.brand} that "
                    f"{rng.choice(FAULTS[call.fault]['pretraining'])}; we call that {call.fault}.",
                    f"{name(rng)} asked us to {rng.choice(REMEDIES[call.remedy]['pretraining'])}, which is the wish "
                    f"{call.remedy}.",
                    f"For {name(rng)} we had to {rng.choice(ACTIONS[call.action]['pretraining'])}: {call.action}.",
                    f"The {call.noun} {call.order} of {call.brand} was {call.fault} until {call.day}.",
                    f"{name(rng)} wrote {call.other} at first, then struck it out and wrote {call.order}.",
                )
            )
        )
    return " ".join(lines)


def _list(rng: random.Random) -> str:
    """Cases in a table, and questions to it."""
    cases = [draw_call(rng, "pretraining") for _ in range(rng.randint(2, 6))]
    columns = rng.sample(("order", "brand", "noun", "fault", "remedy", "day", "action"), rng.randint(2, 4))
    rows = [" | ".join(str(getattr(case, column)) for column in columns) for case in cases]
    asked = rng.choice(cases)
    key, wanted = rng.sample(columns, 2)
    unique = [case for case in cases if _of(case, key) == _of(asked, key)] == [asked]
    tail = [f"The {wanted} with {key} {_of(asked, key)}: {_of(asked, wanted)}"] if unique else []
    return "\n".join([f"Cases of {name(rng)}", " | ".join(columns), *rows, *tail])


def _of(case: Call, column: str) -> str:
    return str(getattr(case, column))


def _shop(rng: random.Random) -> str:
    lines = [f"{name(rng)} sells things."]
    for _ in range(rng.randint(2, 6)):
        one, two = rng.sample(NOUNS, 2)
        lines.append(
            rng.choice(
                (
                    f"The {one} of {name(rng)} costs {number(rng, 10, 999)} coins.",
                    f"On {rng.choice(DAYS)} {name(rng)} took a {one} and left a {two}.",
                    f"Order {number(rng, 1000, 9999)} holds a {name(rng)} {one} and a {two}.",
                    f"A {one} that is {rng.choice(list(FAULTS))} goes back to {name(rng)}.",
                )
            )
        )
    return " ".join(lines)


_KINDS: dict[Callable[[random.Random], str], int] = {_handbook: 4, _recorded: 4, _report: 3, _list: 1, _shop: 1}


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts of the desk."""
    while True:
        yield rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0](rng)
