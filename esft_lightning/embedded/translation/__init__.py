"""Translation: Velm, a constructed language in its own script, into English (an adaptation task).

One training row::

    user:      Translate into English: ᚃᚑᚅᚑᚔᚋ ᚄᚓᚁᚐ ᚅᚒᚋᚒ ᚆᚑᚎᚒᚔᚎ.      (vonoim seba numu hozuiz: bird-s red apple eat-ed)
    assistant: The red birds ate the apple.

Velm has 20 letters, some 190 words and a regular grammar (`lexicon`, `grammar`). Scored by F1 of content words in their
form (`esft_lightning.tasks.translation_score`): "birds" is not "bird", and "did not eat" is one word.

Held apart (`pools`): prompts, shapes of sentences, the sentences themselves, and a share of the words, which stand in
the rows of one pool alone. Shared: the other words, endings, script. Pretraining reads a dictionary of all words and
what endings do to one word, and running text in either language, but no sentence with its translation (`reading`).
"""

import random

from esft_lightning.embedded.pools import Pool
from esft_lightning.embedded.rows import Example
from esft_lightning.embedded.translation.grammar import Noun, Sentence, english, velm
from esft_lightning.embedded.translation.lexicon import (
    ADJECTIVES,
    LETTERS,
    NOUNS,
    NUMBERS,
    PRONOUNS,
    TIMES,
    VERBS,
    kept_for,
)
from esft_lightning.embedded.translation.reading import documents
from esft_lightning.embedded.translation.sentences import SHAPES, draw_sentence

__all__ = [
    "ADJECTIVES",
    "LETTERS",
    "NOUNS",
    "NUMBERS",
    "PRONOUNS",
    "SHAPES",
    "TIMES",
    "VERBS",
    "Noun",
    "Sentence",
    "documents",
    "draw_sentence",
    "english",
    "example",
    "kept_for",
    "velm",
]

PROMPTS: dict[Pool, tuple[str, ...]] = {
    "train": ("Translate into English: {}", "What does this say in English? {}", "Velm: {} English?"),
    "validation": ("In English, please: {}", "{} How would an Englishman put it?"),
    "test": ("Put this into English: {}", "Give the English for: {}"),
}
_TWO = 0.5
"""Share of rows with two sentences."""


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw one or two sentences with their translation."""
    sentences = [draw_sentence(rng, pool) for _ in range(1 + (rng.random() < _TWO))]
    said, meant = (" ".join(say(sentence) for sentence in sentences) for say in (velm, english))
    return Example(rng.choice(PROMPTS[pool]).format(said), meant, {"metric": "content_words"})
