"""The grammar of Velm, and the English that a sentence means.

Time, subject, object or place, verb; adjectives and numbers follow their noun; endings make plural, place, negation and
past; there are no articles. A sentence is a value (`Sentence`) that can be said in either language.
"""

from __future__ import annotations

from dataclasses import dataclass

from esft_lightning.embedded.translation.lexicon import (
    ADJECTIVES,
    NOUNS,
    NUMBERS,
    PLACES,
    PRONOUNS,
    TIMES,
    VERBS,
    script,
)

__all__ = ["ENDINGS", "Noun", "Sentence", "english", "english_noun", "preposition", "velm", "velm_noun", "velm_verb"]

ENDINGS = {"plural": "im", "place": "ix", "not": "iq", "past": "iz"}
"""What an ending means → the ending."""


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


def velm_noun(noun: Noun) -> str:
    """The noun in Velm, with what follows it."""
    if noun.noun in PRONOUNS:
        return script(PRONOUNS[noun.noun])
    words = [NOUNS[noun.noun] + ENDINGS["plural"] * noun.plural]
    words += [ADJECTIVES[noun.adjective]] if noun.adjective else []
    words += [NUMBERS[noun.number]] if noun.number else []
    return script(" ".join(words))


def velm_verb(verb: str, *, past: bool = False, negated: bool = False) -> str:
    """The verb in Velm, with its endings."""
    return script(VERBS[verb] + ENDINGS["not"] * negated + ENDINGS["past"] * past)


def velm(sentence: Sentence) -> str:
    """Say it in Velm, in its script: time, subject, object, place, verb with its endings, full stop."""
    words = [script(TIMES[sentence.time])] if sentence.time else []
    words.append(velm_noun(sentence.subject))
    words += [velm_noun(sentence.object)] if sentence.object else []
    words += [script(PLACES[sentence.place] + ENDINGS["place"])] if sentence.place else []
    words.append(velm_verb(sentence.verb, past=sentence.past, negated=sentence.negated))
    return " ".join(words) + "."


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
    words += [english_noun(subject), verb]
    words += [english_noun(sentence.object)] if sentence.object else []
    words += [f"{preposition(sentence.place)} the {sentence.place}"] if sentence.place else []
    said = " ".join(words)
    return said[0].upper() + said[1:] + "."


_ON = ("hill", "lake", "island", "road", "field", "meadow", "bridge")
_PLURALS = {
    "fox": "foxes", "child": "children", "woman": "women", "man": "men", "knife": "knives", "box": "boxes",
    "berry": "berries", "wolf": "wolves", "thief": "thieves",
}  # fmt: skip


def preposition(place: str) -> str:
    """`in` or `on`, as English has it for that place."""
    return "on" if place in _ON else "in"


def english_noun(noun: Noun) -> str:
    """The noun in English, with its article or number."""
    if noun.noun in PRONOUNS:
        return noun.noun
    name = _PLURALS.get(noun.noun, noun.noun + "s") if noun.plural else noun.noun
    return " ".join(part for part in (noun.number or "the", noun.adjective, name) if part)


def _third_person(verb: str) -> str:
    if verb == "carry":
        return "carries"
    return verb + ("es" if verb.endswith(("ch", "sh", "o")) else "s")
