"""Calls: what one is about, how it is spoken in the wordings of a pool, and the note that sums it up."""

from __future__ import annotations

import random
from dataclasses import dataclass

from esft_lightning.embedded.phrases import Phrases
from esft_lightning.embedded.pools import Pool, name, number
from esft_lightning.embedded.rows import Example
from esft_lightning.embedded.summary.lexicon import ACTIONS, DAYS, FAULTS, NOUNS, REMEDIES
from esft_lightning.embedded.summary.wordings import CORRECTIONS, FILLERS, TURNS

__all__ = ["Call", "draw_call", "example", "note", "transcript"]


@dataclass(frozen=True)
class Call:
    """What a call is about.

    Attributes:
        order: Number of the order that the call is about.
        other: Number of another order.
        brand: Made-up brand of the thing.
        noun: What the thing is.
        fault: A label of `FAULTS`.
        remedy: A label of `REMEDIES`.
        day: By when.
        action: A label of `ACTIONS`.
    """

    order: int
    other: int
    brand: str
    noun: str
    fault: str
    remedy: str
    day: str
    action: str


def draw_call(rng: random.Random, pool: Pool) -> Call:
    """Draw what a call is about; names and numbers are of the pool."""
    order = number(rng, 1000, 9999, pool)
    return Call(
        order=order,
        other=_other_number(rng, order, pool),
        brand=name(rng, pool),
        noun=rng.choice(NOUNS),
        fault=rng.choice(list(FAULTS)),
        remedy=rng.choice(list(REMEDIES)),
        day=rng.choice(DAYS),
        action=rng.choice(list(ACTIONS)),
    )


def _other_number(rng: random.Random, order: int, pool: Pool) -> int:
    while (other := number(rng, 1000, 9999, pool)) == order:
        pass
    return other


def note(call: Call) -> str:
    """The note of a call, one line."""
    return (
        f"Order {call.order}, {call.brand} {call.noun}: {call.fault}. Wanted: {call.remedy} by {call.day}. "
        f"Next: {call.action}."
    )


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw a call with its note."""
    call = draw_call(rng, pool)
    request = rng.choice(TURNS["request"][pool])
    return Example("\n".join([*transcript(rng, call, pool), request]), note(call))


def transcript(rng: random.Random, call: Call, pool: Pool) -> list[str]:
    """The call, turn by turn: up to two slips that are corrected, and one to three things that are not meant."""
    slips = rng.sample(("order", "day"), rng.choice((0, 1, 1, 2)))
    denied = rng.sample(("other", "fault", "remedy", "promised"), rng.choice((1, 2, 2, 3)))

    def say(kind: str, **words: str) -> str:
        return rng.choice(TURNS[kind][pool]).format(town=name(rng, pool), **words)

    def slip(part: str, right: str, wrong: str) -> str:
        return rng.choice(CORRECTIONS[pool]).format(wrong=wrong, right=right) if part in slips else right

    def phrase(phrases: Phrases, label: str) -> str:
        return rng.choice(phrases[label][pool])

    def another(phrases: Phrases, label: str) -> str:
        return phrase(phrases, rng.choice([other for other in phrases if other != label]))

    order = slip("order", str(call.order), str(_other_number(rng, call.order, pool)))
    about = [say("order", order=order, brand=call.brand, noun=call.noun)]
    if "other" in denied:
        about.insert(rng.randint(0, 1), say("other", other=str(call.other)))
    fault = {"x": phrase(FAULTS, call.fault), "y": another(FAULTS, call.fault)}
    remedy = {"x": phrase(REMEDIES, call.remedy), "y": another(REMEDIES, call.remedy)}
    day = slip("day", call.day, rng.choice([day for day in DAYS if day != call.day]))
    wanted = [say("denied_remedy" if "remedy" in denied else "remedy", day=day, **remedy)]
    if "promised" in denied:
        wanted.insert(0, say("promised", y=another(ACTIONS, call.action)))
    said = {
        "order": " ".join(about),
        "fault": say("denied_fault" if "fault" in denied else "fault", **fault),
        "remedy": " ".join(wanted),
    }
    turns = [f"Agent: {say('opening')}"]
    if rng.random() < 0.3:  # everything about the thing at once
        turns.append(f"Customer: {_hesitate(rng, said['order'] + ' ' + said['fault'], pool)}")
    else:
        turns.append(f"Customer: {_hesitate(rng, said['order'], pool)}")
        turns += [f"Agent: {say('ask_fault')}", f"Customer: {_hesitate(rng, said['fault'], pool)}"]
    turns += [f"Agent: {say('ask_remedy')}", f"Customer: {_hesitate(rng, said['remedy'], pool)}"]
    return [*turns, f"Agent: {say('action', x=phrase(ACTIONS, call.action))}"]


def _hesitate(rng: random.Random, said: str, pool: Pool) -> str:
    """Put a filler before every third turn."""
    return rng.choice(FILLERS[pool]) + said if rng.random() < 0.33 else said
