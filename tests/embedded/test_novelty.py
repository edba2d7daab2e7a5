"""How much is new: hashes of n-grams against sets of tuples, and the bounds of the corpus on a short run."""

import random

import numpy as np
import pytest

from esft_lightning.embedded import novelty
from esft_lightning.embedded.novelty import GRAM, Novelty, gram_hashes, new_share

BOS, EOS = 0, 1


def test_equal_hashes_are_equal_grams():
    ids = np.array(random.Random(0).choices(range(3), k=4000))
    grams = [tuple(ids[place : place + GRAM]) for place in range(len(ids) - GRAM + 1)]
    hashes = gram_hashes(ids)
    assert len(hashes) == len(grams)
    assert len(set(hashes.tolist())) == len(set(grams)) < len(grams)
    by_gram = dict(zip(grams, hashes.tolist(), strict=True))
    assert all(by_gram[gram] == value for gram, value in zip(grams, hashes.tolist(), strict=True))


def test_the_new_share_counts_what_stands_nowhere_before():
    grams = np.array([5, 6, 7, 5, 8, 9, 5, 8, 9, 1, 1, 6], dtype=np.uint64)
    seen: set[int] = set()
    fresh = []
    for value in grams.tolist():
        fresh.append(value not in seen)
        seen.add(value)
    assert new_share(grams) == pytest.approx(np.mean(fresh[-3:])) == pytest.approx(1 / 3)


def test_texts_and_grams_are_counted_within_texts():
    entry = Novelty()
    text = [BOS, *range(2, 14), EOS]
    entry.add(np.array([*text, *text, BOS, 5, 6]), BOS, EOS)
    assert entry.tokens == 2 * len(text) + 3
    assert len(entry.texts) == 2 and entry.distinct == 0.5  # the piece at the end is no whole text
    assert len(entry.grams[0]) == 2 * (12 - GRAM + 1)  # none over the border of two texts
    long = Novelty()
    long.add(np.array([BOS, *[7] * 500, EOS, *text]), BOS, EOS)
    assert (long.long_rows, long.long_texts) == (502 + len(text), 502)


def test_a_short_run_has_enough_to_read(capsys):
    assert novelty.main(["--tokens", "300k", "--opening", "5"]) == 0
    printed = capsys.readouterr().out
    assert "All bounds are met." in printed and "| instructions |" in printed


def test_a_missed_bound_is_named(capsys, monkeypatch):
    monkeypatch.setattr(novelty, "NEW", 1.01)
    assert novelty.main(["--tokens", "30k"]) == 1
    assert "Missed:" in capsys.readouterr().out
