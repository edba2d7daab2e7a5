"""The embedded law task: every ruling follows from the articles and the facts of its prompt."""

import random
import re

import pytest
from task_rows_of import ROW_POOLS, assert_apart, pairs

from esft_lightning.embedded.law import Article, Case, draw_articles, ruling
from esft_lightning.embedded.law.lexicon import AGGRAVATING, CIRCUMSTANCES, EXCUSES, OFFENCES
from esft_lightning.embedded.law.wordings import WORDINGS
from esft_lightning.tasks.law_score import parse_ruling


def told(lexicon: dict, pool: str, facts: str) -> list[str]:
    """The labels whose phrases of the pool stand in the facts."""
    filled = r"\\{(thing|place|other)\\}"
    return [
        label
        for label, phrases in lexicon.items()
        if any(re.search(re.sub(filled, r"\\w+", re.escape(phrase)), facts, re.I) for phrase in phrases[pool])
    ]


@pytest.mark.parametrize("pool", ROW_POOLS)
def test_rulings_follow_from_articles_and_facts(pool):
    """Judge again from the text of the prompt alone, by other means than the generator's, and compare."""
    changed = acquitted = 0
    some = pairs("law", pool)[:600]
    for question, answer in some:
        _, *lines, facts, _ = question.split("\n")
        (offence,) = set(told(OFFENCES, pool, facts)) & {
            label for label in OFFENCES if any(re.search(rf"\b{label}\b", line, re.I) for line in lines)
        }
        (article,) = [line for line in lines if re.search(rf"\b{offence}\b", line, re.I)]
        number = re.search(r"Art(?:icle|\.) (\d+)", article)[1]
        if told(EXCUSES, pool, facts):
            acquitted += 1
            assert answer == f"Not guilty of {offence} under Article {number}."
            continue
        amounts = {}
        for kind in ("fine", "prison"):
            amounts[kind] = re.search(rf"{kind} (\d+)", article, re.I)[1]
            for circumstance in told(CIRCUMSTANCES, pool, facts):
                for pattern in (rf"{circumstance}[:,]? {kind} (\d+)", rf"\({kind} (\d+) when {circumstance}\)"):
                    if found := re.search(pattern, article):
                        amounts[kind], changed = found[1], changed + 1
        expected = f"Guilty of {offence} under Article {number}: fine {amounts['fine']}, prison {amounts['prison']}."
        assert answer == expected, question
    assert changed > 0.3 * len(some)
    assert 0.08 < acquitted / len(some) < 0.25


def test_wordings_and_phrases_of_the_pools_are_disjoint():
    for field in ("heads", "articles", "more", "facts", "idle", "asks"):
        assert_apart({pool: getattr(words, field) for pool, words in WORDINGS.items()}, field)
    for lexicon in (OFFENCES, CIRCUMSTANCES, EXCUSES):
        for label, phrases in lexicon.items():
            assert all(len(phrases[pool]) >= 2 for pool in phrases), label
            assert_apart(phrases, label)


def test_numbers_of_the_pools_are_apart():
    def numbers(pool: str, pattern: str) -> set[str]:
        return {number for question, _ in pairs("law", pool) for number in re.findall(pattern, question)}

    for pattern in (r"Art(?:icle|\.) (\d+)", r"fine (\d+)", r"prison (\d+)"):
        found = [numbers(pool, pattern) for pool in ROW_POOLS]
        assert all(found)
        assert sum(map(len, found)) == len(set.union(*found)), pattern


def test_a_circumstance_changes_what_the_article_says_it_does():
    article = Article(214, "theft", 40, 9, ("by night", 90), ("confessed", 1))
    assert ruling(Case(article, (), "")) == "Guilty of theft under Article 214: fine 40, prison 9."
    assert ruling(Case(article, ("by night",), "")) == "Guilty of theft under Article 214: fine 90, prison 9."
    assert ruling(Case(article, ("confessed", "armed"), "")) == "Guilty of theft under Article 214: fine 40, prison 1."
    assert ruling(Case(article, ("by night",), "forced")) == "Not guilty of theft under Article 214."
    assert parse_ruling(ruling(Case(article, (), ""))) == {
        "verdict": "guilty", "offence": "theft", "article": "214", "fine": "40", "prison": "9",
    }  # fmt: skip


def test_aggravating_circumstances_raise_a_penalty_and_others_lower_it():
    for article in draw_articles(random.Random(0), 12, "train") * 3:
        for entry, plain in ((article.fine_if, article.fine), (article.prison_if, article.prison)):
            assert entry is None or (entry[1] > plain) == (entry[0] in AGGRAVATING)
