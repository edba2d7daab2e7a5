"""The unbiased estimator of pass@k."""

import itertools

import pytest

from esft_lightning.scoring.pass_at_k import pass_at_k


@pytest.mark.parametrize(("samples", "passed", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 4), (4, 1, 4)])
def test_it_is_the_share_of_all_draws_that_hold_a_pass(samples, passed, k):
    draws = list(itertools.combinations([True] * passed + [False] * (samples - passed), k))
    assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_one_is_the_share_that_passed():
    assert pass_at_k(200, 50, 1) == pytest.approx(0.25)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least 10 answers to a problem; there are 5"):
        pass_at_k(5, 2, 10)
    with pytest.raises(ValueError, match="0 ≤ passed ≤ samples"):
        pass_at_k(5, 6, 1)
