"""pass@k: the chance that of k answers drawn from n at least one passes (Chen et al. 2021, arXiv 2107.03374)."""

from __future__ import annotations

from math import comb

from esft_lightning.errors import SettingError

__all__ = ["pass_at_k"]


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The unbiased estimator, `1 − C(n − c, k) / C(n, k)`, of one problem.

    Args:
        samples: n, answers that were run.
        passed: c, those that passed every test.
        k: Answers that one may try.

    Raises:
        ValueError: Numbers that cannot be, or fewer answers than k: the estimate would be biased.
    """
    if not 0 <= passed <= samples or k < 1:
        raise ValueError(f"pass@{k} of {passed} passed among {samples}: expected 0 ≤ passed ≤ samples and k ≥ 1")
    if samples < k:
        raise SettingError(f"pass@{k} needs at least {k} answers to a problem; there are {samples}")
    return 1.0 - comb(samples - passed, k) / comb(samples, k)
