"""What pretraining reads of the world and of everyday things, and the general rows that are mixed into a task's."""

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

from esft_lightning.embedded.general.scripts import SCRIPTS, script_text
from esft_lightning.embedded.general.stories import handover_story, reason_story
from esft_lightning.embedded.instructions import FORMS, echo_text, lookup_text
from esft_lightning.embedded.pools import Pool, name, person
from esft_lightning.embedded.rows import Example
from esft_lightning.embedded.world import KINDS, Fact, choice_question, facts, statement, values

__all__ = ["chats", "documents", "example"]


def _question(rng: random.Random, fact: Fact, subject: str = "") -> str:
    return rng.choice(KINDS[fact.kind].questions).format(s=subject or fact.subject)


def _fact_chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    """One question, or several at once, plain or in somebody's name."""
    asked = rng.sample(facts(), rng.choice((1, 2, 2, 3)))
    questions, answers = " ".join(_question(rng, fact) for fact in asked), " ".join(f"{fact.value}." for fact in asked)
    if len(asked) == 1 and rng.random() < 0.8:
        return rng.choice(("{n} asks: {q}", "{q} This is for {n}.", "Help {n}. {q}")).format(
            n=name(rng, pool), q=questions
        ), answers
    return questions, answers


def _choice_chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    fact = rng.choice(facts())
    options = [fact.value, *rng.sample([value for value in values(fact.kind) if value != fact.value], 3)]
    rng.shuffle(options)
    return choice_question(_question(rng, fact), options), f"{fact.value}."


def _story_chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    story = rng.choice((reason_story, handover_story))(rng, pool)
    return f"{story.text} {story.question}", f"{story.answer}."


def _script_chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    goal = rng.choice(list(SCRIPTS))
    before, after = rng.choice(list(pairwise(SCRIPTS[goal])))
    who = name(rng, pool)
    return f"{who} wants to {goal} and {before}. What comes next?", f"{who} {after}."


def _start_with(rng: random.Random, pool: Pool) -> tuple[str, str]:
    fact, opening = rng.choice(facts()), rng.choice(("Sure", "Well", "Yes"))
    return f"Start your answer to {name(rng, pool)} with {opening}. {_question(rng, fact)}", f"{opening}, {fact.value}."


def _passage_chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    """Facts of people that the world does not know, and a question that the passage answers."""
    told = _unknown_facts(rng, pool)
    text = " ".join(statement(fact, rng) for fact in told)
    asked = rng.choice(told)
    return f"{text} {_question(rng, asked)}", f"{asked.value}."


def _unknown_facts(rng: random.Random, pool: Pool) -> list[Fact]:
    known: list[Fact] = []
    for _ in range(rng.randint(1, 3)):
        subject = person(rng, pool)
        for kind in rng.sample(("home", "craft", "color", "animal"), rng.randint(1, 3)):
            known.append(Fact(kind, subject, name(rng, pool) if kind == "home" else rng.choice(values(kind))))
    rng.shuffle(known)
    return known


_CHATS: dict[Callable[[random.Random, Pool], tuple[str, str]], int] = {
    _fact_chat: 20, _choice_chat: 12, _story_chat: 8, _script_chat: 8, _start_with: 4, _passage_chat: 12,
}  # fmt: skip
_FORM_SHARE = 0.36


def _chat(rng: random.Random, pool: Pool) -> tuple[str, str]:
    if rng.random() < _FORM_SHARE:
        asked, answer = rng.choice(FORMS)(rng)
        return (f"{name(rng, pool)}: {asked}" if rng.random() < 0.6 else asked), answer
    return rng.choices(list(_CHATS), weights=list(_CHATS.values()))[0](rng, pool)


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Endless (user, assistant) pairs of pretraining: facts, choices, stories, scripts, passages and instructions."""
    while True:
        yield _chat(rng, "pretraining")


def example(rng: random.Random, pool: Pool) -> Example:
    """One general row, to be mixed into a task's data."""
    return Example(*_chat(rng, pool))


@cache
def _about() -> dict[str, list[Fact]]:
    about: dict[str, list[Fact]] = {}
    for fact in facts():
        about.setdefault(fact.subject, []).append(fact)
    return about


def _article(rng: random.Random) -> str:
    """What is known of a subject and one step along (home → its town), with readers who remark on it."""
    subject = rng.choice(list(_about()))
    known = list(_about()[subject])
    known += [fact for fact in known for fact in _about().get(fact.value, ())]
    rng.shuffle(known)
    lines = [f"{subject}."]
    for fact in known:
        lines.append(statement(fact, rng))
        if rng.random() < 0.4:
            lines.append(
                rng.choice(("{} wrote this down.", "So says {}.", "{} knew it, too.", "It is new to {}.")).format(
                    name(rng)
                )
            )
    return " ".join(lines)


def _facts(rng: random.Random) -> str:
    return " ".join(statement(fact, rng) for fact in rng.sample(facts(), rng.randint(3, 9)))


def _passage(rng: random.Random) -> str:
    told = _unknown_facts(rng, "pretraining")
    asked = rng.sample(told, min(len(told), rng.randint(1, 4)))
    answered = [f"{_question(rng, fact)} {fact.value}." for fact in asked]
    return " ".join(statement(fact, rng) for fact in told) + "\n" + "\n".join(answered)


def _scripts(rng: random.Random) -> str:
    return " ".join(script_text(rng.choice(list(SCRIPTS)), name(rng), rng) for _ in range(rng.randint(1, 4)))


def _stories(rng: random.Random) -> str:
    stories = [rng.choice((reason_story, handover_story))(rng, "pretraining") for _ in range(rng.randint(1, 5))]
    return " ".join(f"{story.text} {story.question} {story.answer}." for story in stories)


_DOCUMENTS: dict[Callable[[random.Random], str], int] = {
    echo_text: 4, lookup_text: 4, _article: 16, _facts: 12, _passage: 14, _scripts: 6, _stories: 6,
}  # fmt: skip


def documents(rng: random.Random) -> Iterator[str]:
    """Endless documents of pretraining: articles, lists of facts, passages, scripts, stories, lines said again."""
    while True:
        yield rng.choices(list(_DOCUMENTS), weights=list(_DOCUMENTS.values()))[0](rng)
