"""Glossaries: words of a language that nobody has met, explained in the question, alone and put together.

    vonal = bird, tegu = red, meso = stone. Word by word: tegu vonal     -> red bird
    Endings: -im many, -oz before. … Word by word: vonalim               -> bird + many

Every question, or every prompt, has a language of its own, so that nothing but reading the glossary helps. Some are
written in the letters of Velm; none has a word of its lexicon.
"""

from __future__ import annotations

import random

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import ADJECTIVES, CLASSES, COMMON, VERBS, several
from esft_lightning.embedded.pools import pool_of
from esft_lightning.embedded.translation import ADJECTIVES as VELM_ADJECTIVES
from esft_lightning.embedded.translation import LETTERS, NOUNS, NUMBERS, PRONOUNS, TIMES
from esft_lightning.embedded.translation import VERBS as VELM_VERBS

__all__ = ["glossaries"]

_VELM = {word for words in (NOUNS, VELM_ADJECTIVES, VELM_VERBS, TIMES, NUMBERS, PRONOUNS) for word in words.values()}
_SCRIPT = str.maketrans(LETTERS)
_VOWELS = "aeiou"
_CONSONANTS = "".join(letter for letter in LETTERS if letter not in _VOWELS)
_ENGLISH = (*COMMON, *ADJECTIVES, *VERBS, *(member for members in CLASSES.values() for member in members))
_TAGS = ("many", "before", "not", "soon", "there", "for")
_LINES = ("{} = {}", "{}: {}", "{} {}", "{} means {}", "{} - {}", "{} ({})")
_JOINTS = (", ", "; ", "\n", " / ")


def invented(rng: random.Random) -> str:
    """A word of two or three syllables in the letters of Velm, of the pretraining pool and not in its lexicon."""
    while True:
        made = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
        made += rng.choice(_CONSONANTS) if rng.random() < 0.3 else ""
        if made not in _VELM and pool_of(made) == "pretraining":
            return made


def _language(rng: random.Random, words: int) -> tuple[dict[str, str], dict[str, str]]:
    """Invented word → English, and ending → what it adds."""
    english = rng.sample(list(dict.fromkeys(_ENGLISH)), words)
    lexicon = dict(zip(several(lambda: invented(rng), words), english, strict=True))
    made = several(lambda: rng.choice(_VOWELS) + rng.choice(_CONSONANTS), 3)
    return lexicon, dict(zip(made, rng.sample(_TAGS, 3), strict=True))


def glossaries(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a glossary, and a word or some words to put into English or out of it."""
    task = rng.choices(("word", "back", "words", "swapped", "endings"), (4, 2, 5, 2, 3))[0]
    line, joint = rng.choice(_LINES), rng.choice(_JOINTS)
    script = rng.random() < 0.4
    size, length = rng.choice((3, 5, 8, 12)), rng.choice((2, 2, 3, 4))
    own = rng.random() < 0.65  # a language for every question
    shared = _language(rng, size)
    order = rng.choice(
        {
            "word": ("What is {}?", "{} ->", "Meaning of {}:", "{}?", "In English: {}"),
            "back": ("What is the word for {}?", "{} is called", "How do they say {}?", "Word for {}:"),
            "words": ("Word by word: {}", "{} ->", "In English: {}", "Read: {}"),
            "swapped": ("The other way round: {}", "Read from the end: {}", "From back to front: {}"),
            "endings": ("Word by word: {}", "Take apart: {}", "{} ->"),
        }[task]
    )
    say = rng.choice((" + ", "-", " "))

    def written(text: str) -> str:
        return text.translate(_SCRIPT) if script else text

    def draw(rng: random.Random) -> tuple[str, str]:
        lexicon, endings = _language(rng, size) if own else shared
        listed = list(lexicon)
        rng.shuffle(listed)
        glossary = joint.join(line.format(written(word), lexicon[word]) for word in listed)
        if task == "word":
            asked = rng.choice(listed)
            question, answer = written(asked), lexicon[asked]
        elif task == "back":
            asked = rng.choice(listed)
            question, answer = lexicon[asked], written(asked)
        elif task == "endings":
            used = [(rng.choice(listed), rng.choice([*endings, ""])) for _ in range(min(length, 3))]
            glossary += joint + joint.join(line.format(f"-{written(end)}", tag) for end, tag in endings.items())
            question = " ".join(written(word + ending) for word, ending in used)
            answer = " ".join(lexicon[word] + (say + endings[ending] if ending else "") for word, ending in used)
        else:
            used_words = rng.sample(listed, min(length, len(listed)))
            question = " ".join(map(written, used_words))
            answer = " ".join(lexicon[word] for word in (used_words if task == "words" else reversed(used_words)))
        return f"{glossary}\n{order.format(question)}", answer

    return draw
