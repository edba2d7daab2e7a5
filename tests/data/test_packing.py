"""Packing, against the rule written the long way: tails are kept, rows are full, BOS drops at its rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.data.packing import concatenate, pack
from esft_lightning.data.tokenization import TokenizedSamples

BOS = 1
lengths = st.lists(st.integers(1, 25), min_size=1, max_size=40)


def samples_of(lengths: list[int], seed: int = 0) -> TokenizedSamples:
    rng = np.random.default_rng(seed)
    ids = [np.concatenate([[BOS], rng.integers(10, 999, n)]) for n in lengths]
    loss = [np.arange(len(i)) >= len(i) // 2 for i in ids]
    offsets = np.cumsum([0, *map(len, ids)])
    return TokenizedSamples(np.concatenate(ids).astype(np.int32), np.concatenate(loss), offsets, "key")


def authors_packing(samples: TokenizedSamples, length: int) -> list[list[int]]:
    """The released loop for random_concat_ratio = 0."""
    rows: list[list[int]] = []
    row: list[int] = []
    for start, end in zip(samples.offsets, samples.offsets[1:], strict=False):
        ids = samples.ids[start:end].tolist()
        if len(ids) > length - len(row):
            ids = ids[-(length - len(row)) :]
        row = row + ids
        if len(row) >= length:
            rows.append(row)
            row = []
    return rows + ([row] if row else [])


@settings(max_examples=100, deadline=None)
@given(lengths, st.integers(2, 30))
def test_rows_are_the_authors_where_no_bos_drops(lengths, length):
    samples = samples_of(lengths)
    packed = pack(samples, length, bos_id=BOS)
    rows = [packed.ids[row, :n].tolist() for row, n in enumerate(packed.lengths)]
    assert rows == authors_packing(samples, length)


@settings(max_examples=100, deadline=None)
@given(lengths, st.integers(2, 30), st.floats(0, 1), st.sampled_from(["tail", "next_row"]), st.integers(0, 99))
def test_each_sample_stands_in_one_row_as_a_tail_of_itself(lengths, length, ratio, overflow, seed):
    samples = samples_of(lengths)
    packed = pack(samples, length, bos_id=BOS, random_concat_ratio=ratio, seed=seed, on_overflow=overflow)
    seen: list[int] = []
    shortened = 0
    for row, real in enumerate(packed.lengths):
        assert (packed.sample[row, real:] == -1).all() and not packed.loss[row, real:].any()
        for place, number in enumerate(dict.fromkeys(packed.sample[row, :real].tolist())):
            here = np.flatnonzero(packed.sample[row] == number)
            start, end = samples.offsets[number], samples.offsets[number + 1]
            assert packed.ids[row, here].tolist() == samples.ids[end - len(here) : end].tolist()
            expected = samples.loss[end - len(here) : end].copy()
            expected[0] = False
            assert packed.loss[row, here].tolist() == expected.tolist()
            missing = end - start - len(here)
            shortened += missing > 0
            if missing > 1 or (missing and place == 0):
                assert here[-1] == length - 1, "only a sample that ends its row is cut"
                assert overflow == "tail" or place == 0, "next_row cuts only what is longer than a row"
            seen.append(number)
    assert seen == list(range(len(lengths))), "each sample once, in file order"
    assert packed.cut_samples + packed.dropped_bos == shortened
    assert ratio > 0 or packed.dropped_bos == 0
    if overflow == "tail":
        assert all(packed.lengths[:-1] == length), "every row but the last is full"


@pytest.mark.parametrize("ratio", [0.0, 0.2, 1.0])
def test_bos_drops_at_its_rate_and_never_at_the_start_of_a_row(ratio):
    samples = samples_of([9] * 20_000)
    packed = pack(samples, 500, bos_id=BOS, random_concat_ratio=ratio, seed=3)
    assert (packed.ids[:, 0] == BOS).all(), "a row opens with a whole sample"
    whole = 20_000 - packed.cut_samples - len(packed)
    assert packed.dropped_bos / whole == pytest.approx(ratio, abs=0.01)
    kept = int((packed.ids == BOS).sum())
    assert kept == 20_000 - packed.dropped_bos - packed.cut_samples


def test_a_tokenizer_without_bos_loses_no_token_to_the_ratio():
    samples = samples_of([9] * 50)
    assert pack(samples, 100, bos_id=None, random_concat_ratio=1.0).dropped_bos == 0


def test_a_sample_longer_than_the_row_keeps_its_last_tokens():
    samples = samples_of([29])
    packed = pack(samples, 10, bos_id=BOS)
    assert packed.ids.tolist() == [samples.ids[-10:].tolist()] and packed.cut_samples == 1


def test_same_seed_same_rows_other_seed_other_drops():
    samples = samples_of(list(range(1, 60)))
    one, again, other = (
        pack(samples, 40, bos_id=BOS, random_concat_ratio=0.5, seed=s).fingerprint() for s in (1, 1, 2)
    )
    assert one == again != other


def test_concatenating_keeps_rows_and_keeps_samples_apart():
    first, second = (pack(samples_of([5, 6, 7], seed), 10) for seed in (1, 2))
    both = concatenate([first, second])
    assert both.ids.tolist() == first.ids.tolist() + second.ids.tolist()
    assert both.tokens == first.tokens + second.tokens and both.labelled_tokens == 2 * first.labelled_tokens
    mine = set(both.sample[: len(first)].ravel()) - {-1}
    assert not mine & set(both.sample[len(first) :].ravel())
