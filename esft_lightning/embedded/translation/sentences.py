"""Sentences of a pool: the shapes, the words and the sentences themselves that no other pool's rows have."""

import random

from esft_lightning.embedded.pools import Pool, pool_of
from esft_lightning.embedded.translation.grammar import Noun, Sentence, english
from esft_lightning.embedded.translation.lexicon import (
    ADJECTIVES,
    BEINGS,
    EATING,
    FOODS,
    HANDLING,
    MEETING,
    MOVING,
    NUMBERS,
    PLACES,
    PRONOUNS,
    THINGS,
    TIMES,
    choices,
)

__all__ = ["SHAPES", "draw_sentence"]

_TRAIN_SHAPES = ("T S V", "Sa V", "Sn V", "S P V", "I P V", "S O V", "Sa O V", "S Oa V", "Sn O V", "I O V", "T S O V")
SHAPES: dict[Pool, tuple[str, ...]] = {
    "pretraining": _TRAIN_SHAPES,
    "train": _TRAIN_SHAPES,
    "validation": ("Sa P V", "S On V", "T I V", "I Oa V", "Sn Oa V"),
    "test": ("Sn P V", "Sa Oa V", "Sa On V", "T S P V", "T Sa O V", "T I O V"),
}
"""Shapes of sentences: T time, S subject, I pronoun, O object, P place, V verb; `a` adjective, `n` number.

Pretraining never sees a sentence with its translation, so its shapes may be those of train."""

_OWN = 0.3
"""Share of the words that are drawn from those kept for the pool, where a list has such words."""


def draw_sentence(rng: random.Random, pool: Pool) -> Sentence:
    """A sentence in a shape of the pool, whose English belongs to the pool."""
    while True:
        sentence = _draw(rng, pool)
        if pool_of(english(sentence)) == pool:
            return sentence


def _draw(rng: random.Random, pool: Pool) -> Sentence:
    def choose(words: dict[str, str]) -> str:
        return rng.choice(choices(words, pool, rng.random() < _OWN))

    def noun(part: str, words: dict[str, str]) -> Noun:
        if part == "I":
            return Noun(rng.choice(list(PRONOUNS)))
        if part.endswith("n"):
            return Noun(choose(words), plural=True, number=rng.choice(list(NUMBERS)))
        return Noun(choose(words), plural=rng.random() < 0.35, adjective=choose(ADJECTIVES) if part[1:] == "a" else "")

    shape = rng.choice(SHAPES[pool]).split()
    parts = {part[0]: part for part in shape}
    verbs, objects = (MOVING, {})
    if "O" in parts:
        verbs, objects = rng.choice(((EATING, FOODS), (HANDLING, THINGS), (MEETING, BEINGS)))
    time = rng.choice(list(TIMES)) if "T" in parts else ""
    return Sentence(
        subject=noun(parts.get("S") or parts["I"], BEINGS),
        verb=choose(verbs),
        past=time in ("yesterday", "once") or (time not in ("now", "always", "soon") and rng.random() < 0.6),
        negated=rng.random() < 0.25,
        object=noun(parts["O"], objects) if "O" in parts else None,
        place=choose(PLACES) if "P" in parts else "",
        time=time,
    )
