"""Cases: the articles of a town, what somebody did and how, and the ruling that follows."""

from __future__ import annotations

import random
from dataclasses import dataclass

from esft_lightning.embedded.law.lexicon import AGGRAVATING, CIRCUMSTANCES, EXCUSES, OFFENCES, PLACES, THINGS
from esft_lightning.embedded.law.wordings import WORDINGS
from esft_lightning.embedded.pools import Pool, name, number, person
from esft_lightning.embedded.rows import Example

__all__ = ["Article", "Case", "deed", "draw_articles", "draw_case", "example", "penalty", "ruling", "sentence"]

_EXCUSED = 0.15


@dataclass(frozen=True)
class Article:
    """One article of a town's law.

    Attributes:
        number: Three digits.
        offence: A key of `OFFENCES`.
        fine: In crowns.
        prison: In months.
        fine_if: A circumstance and the fine that then holds, or None.
        prison_if: A circumstance and the term that then holds, or None.
    """

    number: int
    offence: str
    fine: int
    prison: int
    fine_if: tuple[str, int] | None
    prison_if: tuple[str, int] | None


@dataclass(frozen=True)
class Case:
    """What is judged.

    Attributes:
        article: The article that the deed falls under.
        circumstances: What the facts tell, whether or not the article names it.
        excuse: A key of `EXCUSES`, or empty.
    """

    article: Article
    circumstances: tuple[str, ...]
    excuse: str


def draw_articles(rng: random.Random, count: int, pool: Pool) -> list[Article]:
    """Articles of one town on different offences; two of three name a circumstance for the fine, and for the term."""
    articles = []
    for offence in rng.sample(list(OFFENCES), count):
        one, two = rng.sample(list(CIRCUMSTANCES), 2)
        fine, fine_if = _changed(rng, one, 10, 99, pool)
        prison, prison_if = _changed(rng, two, 2, 40, pool)
        articles.append(
            Article(
                number=number(rng, 100, 999, pool),
                offence=offence,
                fine=fine,
                prison=prison,
                fine_if=(one, fine_if) if rng.random() < 0.67 else None,
                prison_if=(two, prison_if) if rng.random() < 0.67 else None,
            )
        )
    return articles


def _changed(rng: random.Random, circumstance: str, low: int, high: int, pool: Pool) -> tuple[int, int]:
    """A penalty, and what it becomes under a circumstance: more under one that aggravates, less under another."""
    drawn = {number(rng, low, high, pool)}
    while len(drawn) < 2:
        drawn.add(number(rng, low, high, pool))
    less, more = sorted(drawn)
    return (less, more) if circumstance in AGGRAVATING else (more, less)


def draw_case(rng: random.Random, articles: list[Article]) -> Case:
    """A case under one of the articles: half of the circumstances that it names hold, and some that it does not."""
    article = rng.choice(articles)
    named = [entry[0] for entry in (article.fine_if, article.prison_if) if entry]
    others = [entry[0] for a in articles if a is not article for entry in (a.fine_if, a.prison_if) if entry]
    others = [circumstance for circumstance in (*others, rng.choice(list(CIRCUMSTANCES))) if circumstance not in named]
    circumstances = [circumstance for circumstance in named if rng.random() < 0.55]
    circumstances += [rng.choice(others)] if others and rng.random() < 0.4 else []
    rng.shuffle(circumstances)
    return Case(article, tuple(circumstances), rng.choice(list(EXCUSES)) if rng.random() < _EXCUSED else "")


def penalty(case: Case) -> tuple[int, int]:
    """Fine and prison term of somebody guilty."""
    article, fine, prison = case.article, case.article.fine, case.article.prison
    if article.fine_if and article.fine_if[0] in case.circumstances:
        fine = article.fine_if[1]
    if article.prison_if and article.prison_if[0] in case.circumstances:
        prison = article.prison_if[1]
    return fine, prison


def ruling(case: Case) -> str:
    """The ruling, one line."""
    under = f"{case.article.offence} under Article {case.article.number}"
    if case.excuse:
        return f"Not guilty of {under}."
    fine, prison = penalty(case)
    return f"Guilty of {under}: fine {fine}, prison {prison}."


def deed(rng: random.Random, offence: str, pool: Pool) -> str:
    """What somebody did, after the name."""
    return filled(rng, rng.choice(OFFENCES[offence][pool]), pool)


def filled(rng: random.Random, phrase: str, pool: Pool) -> str:
    """A phrase with a thing, a place and a person where it has room for them."""
    return phrase.format(thing=rng.choice(THINGS), place=rng.choice(PLACES), other=name(rng, pool))


def sentence(clause: str) -> str:
    """A clause as a sentence."""
    return f"{clause[0].upper()}{clause[1:]}."


def written(rng: random.Random, article: Article, pool: Pool) -> str:
    """An article in a wording of the pool."""
    words = WORDINGS[pool]
    template, more = rng.choice(words.articles), rng.choice(words.more)
    changes = [
        (entry[0], f"{kind} {entry[1]}")
        for kind, entry in (("fine", article.fine_if), ("prison", article.prison_if))
        if entry
    ]
    rng.shuffle(changes)
    added = "".join(more.format(circumstance=circumstance, change=change) for circumstance, change in changes)
    said = template.format(
        number=article.number,
        offence=article.offence,
        fine=article.fine,
        prison=article.prison,
        more=added,
        town=name(rng, pool),
    )
    return said[0].upper() + said[1:]


def told(rng: random.Random, case: Case, pool: Pool) -> str:
    """The facts of a case in a wording of the pool."""
    words = WORDINGS[pool]
    clauses = [rng.choice(CIRCUMSTANCES[circumstance][pool]) for circumstance in case.circumstances]
    clauses += [rng.choice(EXCUSES[case.excuse][pool])] if case.excuse else []
    rest = [sentence(clause) for clause in clauses]
    if len(rest) < 2:
        rest.append(rng.choice(words.idle).format(town=name(rng, pool)))
    rng.shuffle(rest)
    return rng.choice(words.facts).format(
        who=person(rng, pool), deed=deed(rng, case.article.offence, pool), rest=" ".join(rest)
    )


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw a case with its ruling."""
    words = WORDINGS[pool]
    articles = draw_articles(rng, rng.choice((2, 2, 3)), pool)
    case = draw_case(rng, articles)
    lines = [
        rng.choice(words.heads).format(town=name(rng, pool)),
        *(written(rng, article, pool) for article in articles),
        told(rng, case, pool),
        rng.choice(words.asks),
    ]
    return Example("\n".join(lines), ruling(case))
