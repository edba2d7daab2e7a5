"""Pools: what is drawn for one is never drawn for another, and every pool has enough."""

import random
from collections import Counter

import pytest

from esft_lightning.embedded import pools
from esft_lightning.embedded.phrases import every_phrase, read_phrases


def test_words_and_large_numbers_of_two_pools_are_apart():
    rng = random.Random(0)
    words = {pool: {pools.word(rng, pool) for _ in range(800)} for pool in pools.POOLS}
    numbers = {pool: {pools.number(rng, 100, 9999, pool) for _ in range(800)} for pool in pools.POOLS}
    for drawn in (words, numbers):
        assert all(len(some) > 300 for some in drawn.values())
        assert sum(map(len, drawn.values())) == len(set.union(*drawn.values()))


def test_small_numbers_are_everybodys_in_pretraining_and_apart_in_rows():
    rng = random.Random(0)
    drawn = {pool: {pools.number(rng, 0, 99, pool) for _ in range(4000)} for pool in pools.POOLS}
    assert drawn["pretraining"] == set(range(100))
    assert drawn["train"] | drawn["validation"] | drawn["test"] == set(range(100))
    assert not drawn["train"] & drawn["test"] and not drawn["validation"] & (drawn["train"] | drawn["test"])


def test_a_content_is_in_the_pool_that_it_was_in_whatever_the_process_or_case():
    drawn = [pools.pool_of(f"content {n}") for n in range(8)]
    assert drawn == ["train"] * 2 + ["pretraining"] * 6
    assert pools.pool_of("Quanzin") == pools.pool_of("quanzin")


def test_pools_have_about_the_shares_that_they_claim():
    counts = Counter(pools.pool_of(str(n)) for n in range(20_000))
    shares = {"pretraining": 0.5, "train": 0.25, "validation": 0.1, "test": 0.15}
    assert {pool: counts[pool] / 20_000 for pool in shares} == pytest.approx(shares, abs=0.01)
    assert sum(pools.held_out(f"text {n}") for n in range(20_000)) / 20_000 == pytest.approx(1 / 40, abs=0.005)


def test_a_lexicon_gives_each_pool_its_phrases_and_refuses_one_that_stands_twice():
    read = read_phrases("late: a b; c / d / e / f; g\nbroken: h / i / j / k")
    assert read["late"] == {"pretraining": ("a b", "c"), "train": ("d",), "validation": ("e",), "test": ("f", "g")}
    assert every_phrase(read, "broken") == ("h", "i", "j", "k")
    with pytest.raises(ValueError, match="'d' is said for 'broken' and stands in the lexicon before"):
        read_phrases("late: a / d / e / f\nbroken: b / d / g / h")
    with pytest.raises(ValueError, match="zip"):
        read_phrases("late: a / d / e")
