"""What pretraining reads of law: statutes of many towns, what counts as what, questions to statutes, reports of cases.

Everything is of the pretraining pool: names, numbers, ways of writing an article. Which phrase counts as what is told
here for all phrases, in sentences about words. Reports tell what is due, in prose; the words of a ruling stand nowhere.
"""

import random
from collections.abc import Callable, Iterator

from esft_lightning.embedded.law.cases import Article, draw_articles, draw_case, filled, penalty, told, written
from esft_lightning.embedded.law.lexicon import CIRCUMSTANCES, EXCUSES, OFFENCES, PLACES, THINGS
from esft_lightning.embedded.law.wordings import WORDINGS
from esft_lightning.embedded.phrases import Phrases, every_phrase
from esft_lightning.embedded.pools import name, person

__all__ = ["documents"]


def _statutes(rng: random.Random, articles: list[Article], town: str) -> list[str]:
    head = rng.choice(WORDINGS["pretraining"].heads).format(town=town)
    return [head, *(written(rng, article, "pretraining") for article in articles)]


def _law_book(rng: random.Random) -> str:
    """Statutes, and questions to them."""
    town, articles = name(rng), draw_articles(rng, rng.randint(2, 6), "pretraining")
    lines = _statutes(rng, articles, town)
    for _ in range(rng.randint(1, 4)):
        article = rng.choice(articles)
        asked = [
            f"Which article deals with {article.offence}? {article.number}",
            f"What does Article {article.number} deal with? {article.offence}",
            f"How much does {name(rng)} pay for {article.offence}? {article.fine} crowns",
            f"How long does {name(rng)} sit for {article.offence}? {article.prison} months",
        ]
        if article.fine_if:
            asked.append(f"And if {article.fine_if[0]}? Then {article.offence} costs {article.fine_if[1]} crowns")
        if article.prison_if:
            asked.append(
                f"And if {article.prison_if[0]}? Then it is {article.prison_if[1]} months for {article.offence}"
            )
        lines.append(rng.choice(asked))
    return "\n".join(lines)


def _report(rng: random.Random) -> str:
    """Statutes and what became of somebody under them, in prose."""
    town, articles = name(rng), draw_articles(rng, rng.randint(1, 4), "pretraining")
    lines = _statutes(rng, articles, town)
    for _ in range(rng.randint(1, 2)):
        case = draw_case(rng, articles)
        lines.append(told(rng, case, "pretraining"))
        why = [
            f"{name(rng)} of the court called the deed {case.article.offence}, which is Article {case.article.number}."
        ]
        if case.circumstances:
            why.append(f"The facts show: {', '.join(case.circumstances)}.")
        fine, prison = penalty(case)
        if case.excuse:
            why.append(f"But the accused is excused ({case.excuse}) and goes home free.")
        else:
            why.append(
                rng.choice(("So {f} crowns and {p} months are due.", "That makes {p} months, and {f} crowns.")).format(
                    f=fine, p=prison
                )
            )
        lines.append(" ".join(why))
    return "\n".join(lines)


_FAMILIES: tuple[tuple[str, Phrases], ...] = (("circumstance", CIRCUMSTANCES), ("excuse", EXCUSES))


def _counts_as(rng: random.Random) -> str:
    """One sentence on what counts as what; before and behind a phrase stand other words than in a case."""
    who = name(rng)
    if rng.random() < 0.6:
        offence = rng.choice(list(OFFENCES))
        done = filled(rng, rng.choice(every_phrase(OFFENCES, offence)), "pretraining")
        return rng.choice(
            (
                f"If {person(rng)} {done}, it is {offence}.",
                f"{who} once {done}. The name for that is {offence}.",
                f"A judge of {who} asks what it is when somebody {done}. It is called {offence}.",
                f"{offence.capitalize()} is what {who} committed, who {done}, writes {name(rng)}.",
            )
        )
    family, phrases = rng.choice(_FAMILIES)
    label = rng.choice(list(phrases))
    clause = rng.choice(every_phrase(phrases, label))
    return rng.choice(
        (
            f'In {who} they say "{clause}", and this counts as {label}.',
            f"{who} teaches: when {clause}, the {family} is {label}.",
            f"That {clause} means, for the judges of {who}, {label}.",
            f'What is told as "{clause}" is written down as {label}, says {who}.',
        )
    )


def _lesson(rng: random.Random) -> str:
    head = rng.choice(("Lessons in law by {}.", "{} explains the law.", "What a judge of {} must know."))
    return " ".join([head.format(name(rng)), *(_counts_as(rng) for _ in range(rng.randint(2, 8)))])


def _rules(rng: random.Random) -> str:
    """The rules that hold in every town, between remarks on one of them."""
    remarks = [
        "Nobody is punished who has an excuse: absent, forced, a child, or ordered.",
        "A circumstance changes the penalty only where the article names it.",
        "What the article does not name leaves the penalty as it is.",
        f"{name(rng)} was absent and went free.",
        f"{name(rng)} was forced by {name(rng)} and went free.",
        f"A child of {name(rng)} cannot be punished in {name(rng)}.",
        f"The bailiff of {name(rng)} ordered it, so {name(rng)} went free.",
        f"{name(rng)} saw a {rng.choice(THINGS)} in the {rng.choice(PLACES)} of {name(rng)}.",
        f"In {name(rng)} the {rng.choice(list(OFFENCES))} of {name(rng)} is still spoken of.",
    ]
    return " ".join(rng.sample(remarks, rng.randint(4, 8)))


_KINDS: dict[Callable[[random.Random], str], int] = {_law_book: 4, _report: 5, _lesson: 4, _rules: 1}


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts of the law."""
    while True:
        yield rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0](rng)
