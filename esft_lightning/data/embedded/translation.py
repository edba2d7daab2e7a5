"""Translation: Velm, a constructed language in its own script, ↔ English (an adaptation task).

Two training rows (nine of ten go from Velm to English, as the paper's task does)::

    user:      Translate into English: ᚃᚑᚅᚑᚔᚋ ᚄᚓᚁᚐ ᚅᚒᚋᚒ ᚆᚑᚎᚒᚔᚎ.      (vonoim seba numu hozuiz: bird-s red apple eat-ed)
    assistant: The red birds ate the apple.

    user:      Translate into Velm: The king did not wait.
    assistant: ᚆᚓᚏᚒ ᚄᚑᚂᚓᚔᚊᚔᚎ.      (heru soleiqiz: king wait-not-ed)

Velm has 20 letters (the Ogham block, with words of nobody's language), 125 words and a regular grammar: time, subject,
object or place, verb; adjectives and numbers follow their noun; endings make plural, place, negation and past; there
are no articles. The lexicon below is in Latin letters; `LETTERS` gives the script. In rows, the words that stand
first in a list of the lexicon are the common ones.

Score: chrF of the answer's first line (`metrics/translation.py`), and exact match.

Split: training sentences and test sentences share words, since nobody can guess a word never met, but no sentence shape
(`TRAIN_SHAPES`, `TEST_SHAPES`), no pair of subject and verb (`held_out`) and no prompt frame. `documents` gives running
text in Velm and, apart from it, running English text, all of training sentences: never a pair, glossary or grammar.

This file knows the language. It does not know chat formats, tokenizers or scoring.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row

__all__ = [
    "LETTERS",
    "TEST_SHAPES",
    "TRAIN_SHAPES",
    "Noun",
    "Sentence",
    "documents",
    "english",
    "held_out",
    "test_rows",
    "train_rows",
    "velm",
]

LETTERS = {letter: chr(0x1681 + i) for i, letter in enumerate("blvsnhdtcqmgxzraouei")}
"""Latin letter of the lexicon → letter of the script (U+1681 … U+1694)."""

_SCRIPT = str.maketrans(LETTERS)
_PLURAL, _PLACE, _NOT, _PAST = "im", "ix", "iq", "iz"


def _words(pairs: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in pairs.split())


BEINGS = _words(
    "dog=sode cat=lacu horse=seme bird=vono fox=meza bear=lora child=buce woman=teze man=vulal king=heru "
    "hunter=tume farmer=daho friend=dazo mother=guhas teacher=lura singer=vahe sailor=laga baker=gumu girl=buban "
    "boy=sehun"
)
"""Nouns that act, and that verbs of seeing and helping act upon."""

THINGS = _words(
    "stone=dudo rope=tece boat=gagu knife=zohe basket=mumus bell=gube lamp=nobu book=nugu coat=bana wheel=hehul "
    "net=dugu gate=tara drum=noho ring=hodo cup=nalu chair=nocol hat=geho door=bodo box=daru key=nehe"
)
"""Nouns that are carried, found and broken."""

FOODS = _words("plum=bevos pear=mobe apple=numu bean=lulol cake=tabe pie=vusa egg=taga berry=samar nut=robe onion=beda")
"""Nouns that are eaten and cooked."""

PLACES = _words(
    "forest=bame river=dade village=gudur hill=tava field=gena lake=tade island=deze market=somu tower=lesen "
    "garden=dumun house=zena road=gara"
)
"""Nouns that take the ending of place."""

ADJECTIVES = _words(
    "red=seba black=neva white=lale green=hural big=lama small=golo old=gede young=toto good=geve bad=vole "
    "happy=zegol sad=tusus strong=reso weak=suco quiet=zezo cold=naca poor=taco clever=nasul tall=ruvo lost=naho"
)
"""Adjectives; they follow their noun."""

TIMES = _words("yesterday=dota today=hade now=nuba always=tomur")
"""Adverbs that open a sentence."""

NUMBERS = _words("two=lele three=hamu four=dehur many=nane")
"""Number words; they follow their noun, which then takes the plural."""

PRONOUNS = _words("I=buno you=zovu he=nela she=vune we=valo they=meda")
"""Subjects without a noun."""

EATING = _words("eat/ate=hozu cook/cooked=tema buy/bought=loha share/shared=gavo want/wanted=nezo")
"""Verbs with a food as object: English base form and past."""

HANDLING = _words(
    "carry/carried=vero find/found=vosu make/made=hare break/broke=munel hide/hid=zalo clean/cleaned=meso "
    "lose/lost=nove paint/painted=gabu"
)
"""Verbs with a thing as object."""

MEETING = _words(
    "see/saw=maca help/helped=zazu follow/followed=sase love/loved=seda call/called=taso know/knew=cames "
    "hear/heard=hace meet/met=teve"
)
"""Verbs with a being as object."""

MOVING = _words(
    "sleep/slept=zudu run/ran=desa sing/sang=huve swim/swam=vobo dance/danced=monal laugh/laughed=ceva "
    "work/worked=teden wait/waited=sole"
)
"""Verbs without an object."""

NOUNS = BEINGS | THINGS | FOODS | PLACES
VERBS = EATING | HANDLING | MEETING | MOVING
_CUMULATIVE_WEIGHTS = tuple(accumulate(1 / (rank + 3) for rank in range(len(NOUNS))))
_SUBJECTS = (*BEINGS, *PRONOUNS)
_VERB_NUMBER = {verb: i for i, verb in enumerate(VERBS)}
_SUBJECT_NUMBER = {subject: i for i, subject in enumerate(_SUBJECTS)}


Choose = Callable[[random.Random, Sequence[str]], str]
"""How a word is picked: evenly in running text, common words more often in rows."""


@dataclass(frozen=True)
class Noun:
    """A noun with what goes with it: an adjective, or a number word (then it is plural), or nothing."""

    noun: str
    plural: bool = False
    adjective: str = ""
    number: str = ""


@dataclass(frozen=True)
class Sentence:
    """What a sentence says, in no language.

    Attributes:
        subject: A noun, or a pronoun (`Noun("we")`).
        verb: A key of `VERBS`, for example `"see/saw"`.
        past: Whether it has happened, rather than happens.
        negated: Whether it did or does not.
        object: Object of a verb that takes one.
        place: A key of `PLACES`, or empty.
        time: A key of `TIMES`, or empty.
    """

    subject: Noun
    verb: str
    past: bool
    negated: bool
    object: Noun | None = None
    place: str = ""
    time: str = ""


TRAIN_SHAPES = (
    "T S V",
    "Sa V",
    "Sn V",
    "S P V",
    "I P V",
    "S O V",
    "Sa O V",
    "S Oa V",
    "Sn O V",
    "I O V",
    "I Oa V",
    "T S O V",
)
"""Shapes of training sentences: T time, S subject, I pronoun, O object, P place, V verb; `a` adjective, `n` number."""

TEST_SHAPES = ("Sa P V", "S On V", "Sa Oa V", "Sn Oa V", "T S P V", "T Sa O V", "T I O V")
"""Shapes that only test sentences have: the same parts, put together anew."""

_PROMPTS = {
    # (to English?, test?): frames
    (True, False): ("Translate into English: {}", "What does this say in English? {}", "Velm: {} English?"),
    (False, False): ("Translate into Velm: {}", "How do you write this in Velm? {}"),
    (True, True): ("Put this into English: {}",),
    (False, True): ("Put this into Velm: {}",),
}
_TO_ENGLISH = 0.9


def held_out(subject: str, verb: str) -> bool:
    """Say whether this pair of subject and verb (keys of the lexicon) is kept for test sentences: one pair in five."""
    return (3 * _SUBJECT_NUMBER[subject] + _VERB_NUMBER[verb]) % 5 == 0


def velm(sentence: Sentence) -> str:
    """Say it in Velm, in its script: time, subject, object, place, verb with its endings, full stop."""
    words = [TIMES[sentence.time]] if sentence.time else []
    words += _velm_noun(sentence.subject)
    if sentence.object:
        words += _velm_noun(sentence.object)
    if sentence.place:
        words.append(PLACES[sentence.place] + _PLACE)
    words.append(VERBS[sentence.verb] + _NOT * sentence.negated + _PAST * sentence.past)
    return " ".join(words).translate(_SCRIPT) + "."


def english(sentence: Sentence) -> str:
    """Say it in English: time, subject, verb, object or place; capital first, full stop last."""
    subject = sentence.subject
    plain, past = sentence.verb.split("/")
    third_person = subject.noun in ("he", "she") or (subject.noun in NOUNS and not subject.plural)
    if sentence.negated:
        verb = f"{'did' if sentence.past else 'does' if third_person else 'do'} not {plain}"
    elif sentence.past:
        verb = past
    else:
        verb = _third_person(plain) if third_person else plain
    words = [sentence.time] if sentence.time else []
    words += [_english_noun(subject), verb]
    if sentence.object:
        words.append(_english_noun(sentence.object))
    if sentence.place:
        words.append(f"{'on' if sentence.place in _ON else 'in'} the {sentence.place}")
    said = " ".join(words)
    return said[0].upper() + said[1:] + "."


def train_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` training rows with different prompts: `{"messages": [user, assistant]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [training_row(row) for row in distinct(lambda rng: _row(rng, False), count, f"translation train {seed}")]


def test_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` test rows with different prompts: `{"prompt": …, "raw_answers": [translation]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [evaluation_row(row) for row in distinct(lambda rng: _row(rng, True), count, f"translation test {seed}")]


def documents(rng: random.Random) -> Iterator[str]:
    """Give endless running texts, each in one language alone: six to twelve training sentences about one subject."""
    while True:
        say = velm if rng.random() < 0.6 else english
        told = _draw(rng, test=False, choose=random.Random.choice)
        sentences = [told]
        while len(sentences) < rng.randint(6, 12):
            told = _draw(rng, test=False, choose=random.Random.choice)
            if rng.random() < 0.5:  # stay with the subject that the text is about
                told = replace(told, subject=sentences[0].subject)
                if held_out(told.subject.noun, told.verb):
                    continue
            sentences.append(told)
        yield " ".join(say(sentence) for sentence in sentences)


_ON = ("hill", "lake", "island", "road", "field")
_IRREGULAR = {"carry": "carries"}


def _third_person(verb: str) -> str:
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    return verb + ("es" if verb.endswith(("ch", "sh", "o")) else "s")


_PLURALS = {"fox": "foxes", "child": "children", "woman": "women", "man": "men", "knife": "knives", "box": "boxes"}
_PLURALS["berry"] = "berries"


def _english_noun(noun: Noun) -> str:
    if noun.noun in PRONOUNS:
        return noun.noun
    name = _PLURALS.get(noun.noun, noun.noun + "s") if noun.plural else noun.noun
    return " ".join(part for part in (noun.number or "the", noun.adjective, name) if part)


def _velm_noun(noun: Noun) -> list[str]:
    if noun.noun in PRONOUNS:
        return [PRONOUNS[noun.noun]]
    words = [NOUNS[noun.noun] + _PLURAL * noun.plural]
    if noun.adjective:
        words.append(ADJECTIVES[noun.adjective])
    if noun.number:
        words.append(NUMBERS[noun.number])
    return words


def _row(rng: random.Random, test: bool) -> Example:
    sentence = _draw(rng, test=test, choose=_choose_often_first)
    to_english = rng.random() < _TO_ENGLISH
    source, target = (velm, english) if to_english else (english, velm)
    return Example(rng.choice(_PROMPTS[to_english, test]).format(source(sentence)), target(sentence))


def _choose_often_first(rng: random.Random, words: Sequence[str]) -> str:
    """Choose as people do: the word of rank r (from 0) with weight 1 / (r + 3), a mild Zipf law."""
    return rng.choices(words, cum_weights=_CUMULATIVE_WEIGHTS[: len(words)])[0]


def _draw(rng: random.Random, *, test: bool, choose: Choose) -> Sentence:
    """Draw what a sentence of one side of the split says; `choose` picks its words."""
    shape = rng.choice(TEST_SHAPES if test else TRAIN_SHAPES).split()
    objects: dict[str, str] = {}
    verbs = MOVING
    if any(part.startswith("O") for part in shape):
        verbs, objects = rng.choice(((EATING, FOODS), (HANDLING, THINGS), (MEETING, BEINGS)))
    while True:
        subject, verb = choose(rng, tuple(PRONOUNS if "I" in shape else BEINGS)), choose(rng, tuple(verbs))
        if held_out(subject, verb) == test:
            break
    time = choose(rng, tuple(TIMES)) if "T" in shape else ""
    return Sentence(
        subject=_noun(rng, subject, next(part for part in shape if part[0] in "SI"), choose),
        verb=verb,
        past=time == "yesterday" or (time not in ("now", "always") and rng.random() < 0.6),
        negated=rng.random() < 0.25,
        object=next((_noun(rng, choose(rng, tuple(objects)), part, choose) for part in shape if part[0] == "O"), None),
        place=choose(rng, tuple(PLACES)) if "P" in shape else "",
        time=time,
    )


def _noun(rng: random.Random, noun: str, part: str, choose: Choose) -> Noun:
    if part == "I":
        return Noun(noun)
    if part.endswith("n"):
        return Noun(noun, plural=True, number=choose(rng, tuple(NUMBERS)))
    return Noun(
        noun, plural=rng.random() < 0.35, adjective=choose(rng, tuple(ADJECTIVES)) if part.endswith("a") else ""
    )
