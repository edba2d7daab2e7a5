"""Short stories of two persons, and a question whom a pronoun or a thing's way means."""

import random
from typing import NamedTuple

from esft_lightning.embedded.pools import Pool, name

__all__ = ["Story", "handover_story", "reason_story"]

THINGS = "cup book key coat map coin letter lamp hat ring".split()  # noqa: SIM905

# Why somebody did something, told by a pronoun: (story, question, "giver" or "taker").
REASONS: tuple[tuple[str, str, str], ...] = (
    ("{a} gave {b} a glass of water because {p} was thirsty.", "Who was thirsty?", "taker"),
    ("{a} gave {b} some bread because {p} was hungry.", "Who was hungry?", "taker"),
    ("{a} lent {b} a coat because {p} was cold.", "Who was cold?", "taker"),
    ("{a} thanked {b} because {p} had got help.", "Who had got help?", "giver"),
    ("{a} called {b} because {p} felt lonely.", "Who felt lonely?", "giver"),
    ("{a} carried {b} home because {p} was tired.", "Who was tired?", "taker"),
    ("{a} asked {b} for a coin because {p} had none.", "Who had none?", "giver"),
    ("{a} waited for {b} because {p} was late.", "Who was late?", "taker"),
)


class Story(NamedTuple):
    """A story, a question to it, who is meant, and who is not."""

    text: str
    question: str
    answer: str
    other: str


def _pair(rng: random.Random, pool: Pool) -> list[str]:
    """A man and a woman of the pool, in random order."""
    pair = [f"Mr {name(rng, pool)}", f"Mrs {name(rng, pool)}"]
    rng.shuffle(pair)
    return pair


def reason_story(rng: random.Random, pool: Pool) -> Story:
    """A story whose pronoun names one of two persons."""
    first, second = _pair(rng, pool)
    text, question, who = rng.choice(REASONS)
    answer, other = (first, second) if who == "giver" else (second, first)
    pronoun = "he" if answer.startswith("Mr ") else "she"
    return Story(text.format(a=first, b=second, p=pronoun), question, answer, other)


def handover_story(rng: random.Random, pool: Pool) -> Story:
    """A story in which a thing changes hands."""
    first, second = _pair(rng, pool)
    thing = rng.choice(THINGS)
    text = rng.choice(("{a} gave the {t} to {b}.", "{a} handed {b} the {t}.", "{a} sold the {t} to {b}."))
    if rng.random() < 0.5:
        question, answer, other = f"Who has the {thing} now?", second, first
    else:
        question, answer, other = f"Who had the {thing} before?", first, second
    return Story(text.format(a=first, b=second, t=thing), question, answer, other)
