"""Bootstrap intervals: of a mean, and of differences of means over the same rows, of one test or of several."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval.

    Attributes:
        mean: The estimate.
        low: Lower end.
        high: Upper end.
        count: Values that were resampled (rows; for several seeds, rows and seeds).
    """

    mean: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float) -> Interval:
        """The interval in another unit."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.mean * factor, low, high, self.count)

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def mean_interval(values: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of independent values with its bootstrap interval.

    Args:
        values: At least one finite number, any shape.
        seed: Seed of the resampling.
        resamples: How often to draw anew.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    flat = np.asarray(values, dtype=float).reshape(-1)
    _check(flat, "values")
    rng = np.random.default_rng(seed)
    means = flat[rng.integers(0, flat.size, (resamples, flat.size))].mean(1)
    return _interval(float(flat.mean()), means, flat.size)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of `first − second` over the same rows, with an interval over rows and seeds.

    Rows and seeds are drawn anew independently; a drawn row stands for both sides, so that what makes a row easy for
    both cancels. The two sides may have different numbers of seeds.

    Args:
        first: Scores [seeds, rows].
        second: Scores [seeds of the other, the same rows].
        seed: Seed of the resampling.
        resamples: How often to draw anew.

    Raises:
        ValueError: No score, scores that are not finite, or different numbers of rows.
    """
    return stratified_difference([(first, second)], seed=seed, resamples=resamples)


def stratified_difference(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    row_sets: Sequence[Hashable] | None = None,
    run_sets: Sequence[tuple[Hashable, Hashable]] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean over several tests of the paired difference in each, every test with the same weight.

    Tests that ask the same rows, or that the same runs took, are not independent: what is easy in the one is easy in
    the other. Where `row_sets` and `run_sets` say so, these rows, or seeds, are drawn once for all of them.

    Args:
        pairs: `(first, second)` of each test, as `paired_difference` takes them; tests may differ in rows and seeds.
        row_sets: Name of each test's rows: tests of the same name have the same rows. None: all different.
        run_sets: Names of each test's runs, of `first` and of `second`: where a name returns, a seed means the same,
            since the same runs took the test or the seed decides something that they share. None: all different.
        seed: Seed of the resampling.
        resamples: How often to draw anew.

    Raises:
        ValueError: No test, no score, scores that are not finite, different numbers of rows in a test, or not as many
            names as tests.
    """
    if not pairs:
        raise ValueError("no pair of scores to compare")
    row_names = list(range(len(pairs)) if row_sets is None else row_sets)
    run_names = [(number, number) for number in range(len(pairs))] if run_sets is None else list(run_sets)
    drawn: dict[Hashable, np.ndarray] = {}

    def draw(name: Hashable, size: int) -> np.ndarray:
        """Numbers below `size`, [resamples, size]; the same for the same name."""
        if (name, size) not in drawn:
            drawn[name, size] = rng.integers(0, size, (resamples, size))
        return drawn[name, size]

    rng = np.random.default_rng(seed)
    means, draws, count = [], [], 0
    for pair, row_name, runs in zip(pairs, row_names, run_names, strict=True):
        left, right = (np.atleast_2d(np.asarray(side, dtype=float)) for side in pair)
        _check(left, "first")
        _check(right, "second")
        if left.shape[1] != right.shape[1]:
            raise ValueError(f"paired scores need the same rows; first has {left.shape[1]}, second {right.shape[1]}")
        rows = draw(("rows", row_name), left.shape[1])
        first, second = (
            side[draw((place, name), len(side))[:, :, None], rows[:, None, :]].mean((1, 2))
            for place, name, side in zip(("first", "second"), runs, (left, right), strict=True)
        )
        draws.append(first - second)
        means.append(left.mean() - right.mean())
        count += left.shape[1] * max(len(left), len(right))
    return _interval(float(np.mean(means)), np.mean(draws, axis=0), count)


def stratified_mean(tests: Sequence[ArrayLike], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean over several tests that the same runs took, every test with the same weight; over rows and seeds.

    Args:
        tests: Scores [seeds, rows] of each test; tests may differ in rows.
        seed: Seed of the resampling.
        resamples: How often to draw anew.

    Raises:
        ValueError: No test, no score, or scores that are not finite.
    """
    scores = [np.atleast_2d(np.asarray(test, dtype=float)) for test in tests]
    pairs = [(score, np.zeros((1, score.shape[1]))) for score in scores]
    runs = [("runs", "nothing")] * len(pairs)
    return stratified_difference(pairs, run_sets=runs, seed=seed, resamples=resamples)


def _check(values: np.ndarray, name: str) -> None:
    if values.size == 0:
        raise ValueError(f"{name} is empty; a bootstrap needs at least one value")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds a value that is not finite")


def _interval(mean: float, resampled: np.ndarray, count: int) -> Interval:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(mean, float(low), float(high), count)
