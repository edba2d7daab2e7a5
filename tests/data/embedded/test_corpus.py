"""The pretraining mixture: weights and held-out text; that it holds no row is in `test_leakage`."""

import random
from itertools import islice

import pytest

from esft_lightning.data.embedded.corpus import WEIGHTS, RowStream, domain_texts, held_out_texts


def bytes_of(texts: list[str]) -> list[list[int]]:
    return [[3 + byte for byte in text.encode()] for text in texts]


def test_weights_are_shares():
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_rows_follow_the_weights_and_begin_with_a_text():
    stream = RowStream(bytes_of, bos=0, eos=1, seed=0, buffer=8)
    rng = random.Random(0)
    given = dict.fromkeys(WEIGHTS, 0)
    for _ in range(300):
        length = rng.choice([256, 512])
        domain, ids = stream.next_row(length)
        given[domain] += length
        assert len(ids) == length and ids[0] == 0
    total = sum(given.values())
    assert given == stream.given
    for domain, weight in WEIGHTS.items():
        assert given[domain] / total == pytest.approx(weight, abs=0.01)


def test_a_stream_is_a_function_of_its_seed():
    def rows(seed):
        stream = RowStream(bytes_of, bos=0, eos=1, seed=seed, buffer=8)
        return [stream.next_row(200) for _ in range(20)]

    assert rows(1) == rows(1) != rows(2)


@pytest.mark.parametrize("domain", WEIGHTS)
def test_held_out_text_is_drawn_apart(domain):
    held = held_out_texts(domain, 20)
    assert held == held_out_texts(domain, 20)
    assert all(held)
    if domain in ("source", "reference"):  # apart by file and topic: no chunk may be shared
        assert not set(held) & set(islice(domain_texts(domain, 0), 3000))


def test_an_unknown_domain_is_named():
    with pytest.raises(KeyError, match="no domain 'poems'"):
        next(domain_texts("poems", 0))
