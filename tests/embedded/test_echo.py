"""Echoes: what comes again is what stood before."""

import random
import re
from itertools import islice

from esft_lightning.embedded.echo import documents

TEXTS = list(islice(documents(random.Random(0)), 400))


def test_echoes_are_a_function_of_their_random_numbers():
    assert list(islice(documents(random.Random(0)), 400)) == TEXTS
    assert len(set(TEXTS)) > 395


def test_every_word_of_the_second_half_stands_in_the_first():
    for text in TEXTS:
        words = re.findall(r"\w+", text)
        assert set(words[len(words) // 2 :]) <= set(words[: len(words) // 2 + 1]), text


def test_short_lines_are_as_frequent_as_long_ones():
    lengths = sorted(len(text) for text in TEXTS)
    assert lengths[40] < 80 and lengths[-40] > 500
