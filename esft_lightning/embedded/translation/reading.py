"""What pretraining reads of Velm: a dictionary, what endings do to a word, words in company, and running text.

Words and phrases of two words stand beside their English; sentences never do, and all sentences are of the pretraining
pool.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from esft_lightning.embedded.pools import name, number, pool_of
from esft_lightning.embedded.translation.grammar import (
    ENDINGS,
    Noun,
    Sentence,
    english,
    english_noun,
    preposition,
    velm,
    velm_noun,
    velm_verb,
)
from esft_lightning.embedded.translation.lexicon import (
    ADJECTIVES,
    BEINGS,
    FOODS,
    NUMBERS,
    PLACES,
    PRONOUNS,
    THINGS,
    TIMES,
    VERBS,
    script,
)
from esft_lightning.embedded.translation.sentences import draw_sentence

__all__ = ["documents"]

_THINGS = BEINGS | THINGS | FOODS
_LISTS = (_THINGS, ADJECTIVES, VERBS, PLACES, TIMES, NUMBERS, PRONOUNS)
_LIST_WEIGHTS = (8, 3, 5, 2, 1, 1, 1)


def _word(rng: random.Random) -> tuple[str, str]:
    """A word in Velm and in English (of verbs, the base form)."""
    words = rng.choices(_LISTS, weights=_LIST_WEIGHTS)[0]
    key = rng.choice(list(words))
    return script(words[key]), key.split("/")[0]


def _form(rng: random.Random) -> tuple[str, str]:
    """A form of a word, or a phrase of two words, in Velm and in English."""
    kind = rng.randrange(6)
    thing = rng.choice(list(_THINGS))
    if kind == 0:
        plural = Noun(thing, plural=True)
        return velm_noun(plural), english_noun(plural).removeprefix("the ")
    if kind == 1:
        described = Noun(thing, plural=rng.random() < 0.4, adjective=rng.choice(list(ADJECTIVES)))
        return velm_noun(described), english_noun(described).removeprefix("the ")
    if kind == 2:
        counted = Noun(thing, plural=True, number=rng.choice(list(NUMBERS)))
        return velm_noun(counted), english_noun(counted)
    verb = rng.choice(list(VERBS))
    plain, past = verb.split("/")
    if kind == 3:
        return velm_verb(verb, past=True), past
    if kind == 4:
        gone = rng.random() < 0.5
        return velm_verb(verb, past=gone, negated=True), f"{'did' if gone else 'does'} not {plain}"
    place = rng.choice(list(PLACES))
    return script(PLACES[place] + ENDINGS["place"]), f"{preposition(place)} the {place}"


_ENTRIES = (
    "{v} means {e}.",
    "{e} is {v}.",
    "{v}: {e}.",
    '"{e}" is said {v}.',
    "The word {v} stands for {e}.",
    "{n} asks for {e}: {v}.",
    "For {e} they write {v} in {n}.",
    "{n} reads {v} and understands {e}.",
    "{v}, says {n}, that is {e}.",
)


def _entry(rng: random.Random, pair: tuple[str, str]) -> str:
    return rng.choice(_ENTRIES).format(v=pair[0], e=pair[1], n=name(rng))


def _dictionary(rng: random.Random) -> str:
    head = rng.choice(("Words of Velm.", "{} learns Velm.", "From the dictionary of {}."))
    entries = (_entry(rng, _word(rng)) for _ in range(rng.randint(4, 20)))
    return " ".join([head.format(name(rng)), *entries])


def _forms(rng: random.Random) -> str:
    head = rng.choice(("How Velm bends its words.", "Forms, collected by {}.", "{} teaches endings."))
    entries = (_entry(rng, _form(rng)) for _ in range(rng.randint(3, 14)))
    return " ".join([head.format(name(rng)), *entries])


def _list(rng: random.Random) -> str:
    """A list of words with their English, then the same words asked for in another order."""
    pairs = dict(_word(rng) if rng.random() < 0.6 else _form(rng) for _ in range(rng.randint(3, 9)))
    form = rng.choice(("{} = {}", "{} - {}", "{}: {}", "{} | {}"))
    asked = rng.sample(list(pairs), len(pairs))
    lines = [form.format(*pair) for pair in pairs.items()]
    again = [rng.choice(("{} = {}", "{}? {}")).format(word, pairs[word]) for word in asked]
    return "\n".join([f"List {number(rng, 1, 999)} of {name(rng)}", *lines, "Asked:", *again])


def _rules(rng: random.Random) -> str:
    end = {meaning: script(ending) for meaning, ending in ENDINGS.items()}
    told = [
        f"In Velm the verb comes last, as {name(rng)} found.",
        "The adjective follows its noun, and so does a number.",
        "There is no word for the or a.",
        "The time stands first, then who does it, then to what or where.",
        f"{end['plural']} at the end of a noun makes it many; {end['place']} says that it is a place.",
        f"{end['not']} at the end of a verb is not; {end['past']} says that it is over.",
        f"Where both stand, {end['not']} comes before {end['past']}, writes {name(rng)}.",
    ]
    rng.shuffle(told)
    examples = [_entry(rng, _form(rng)) for _ in range(rng.randint(1, 6))]
    return " ".join([*told[: rng.randint(2, 5)], *examples])


def _running(rng: random.Random) -> str:
    """Sentences about one subject in one language alone."""
    say: Callable[[Sentence], str] = velm if rng.random() < 0.6 else english
    first = draw_sentence(rng, "pretraining")
    sentences = [first]
    for _ in range(rng.randint(4, 16)):
        told = draw_sentence(rng, "pretraining")
        other = replace(told, subject=first.subject)
        sentences.append(other if rng.random() < 0.5 and _free(other) else told)
    return " ".join(map(say, sentences))


def _free(sentence: Sentence) -> bool:
    return pool_of(english(sentence)) == "pretraining"


_KINDS: dict[Callable[[random.Random], str], int] = {_dictionary: 5, _forms: 5, _list: 4, _rules: 1, _running: 4}


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts of Velm."""
    while True:
        yield rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0](rng)
