"""A claim of the paper, put to the test on results: it holds, does not hold, or is undecided."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from esft_lightning.publication.bootstrap import Interval


class Verdict(StrEnum):
    """What the results say."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Claim:
    """A claim and what became of it.

    Attributes:
        statement: The claim, one sentence.
        source: Where the paper makes it: `Table 1`, `Fig. 3`.
        verdict: The outcome.
        effect: What was measured, in words with its unit: `ESFT-Gate − random experts, task score, points`.
        interval: The effect and its interval; None where nothing could be measured.
        test: The rule that led to the verdict, the null it was held against included.
    """

    statement: str
    source: str
    verdict: Verdict
    effect: str
    interval: Interval | None
    test: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"verdict": str(self.verdict)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Claim:
        """What `to_dict` gave."""
        interval = values["interval"]
        return cls(**{**values, "verdict": Verdict(values["verdict"]), "interval": interval and Interval(**interval)})


def judge_difference(interval: Interval | None, *, beyond: float = 0.0) -> Verdict:
    """Judge a claim that a difference is greater than `beyond`.

    Args:
        interval: The difference; None is undecided.
        beyond: What the difference must exceed: 0, or a null's value.

    Returns:
        Holds when the whole interval lies above `beyond`, does not hold when it lies below, else undecided.
    """
    if interval is None or interval.low <= beyond <= interval.high:
        return Verdict.UNDECIDED
    return Verdict.HOLDS if interval.low > beyond else Verdict.FAILS


def judge_equality(interval: Interval | None, *, margin: float) -> Verdict:
    """Judge a claim that two things are as good as equal.

    Args:
        interval: Their difference; None is undecided.
        margin: The largest difference that still counts as equal, in the interval's unit.

    Returns:
        Holds when the whole interval lies within ±margin, does not hold when it lies outside, else undecided.
    """
    if interval is None:
        return Verdict.UNDECIDED
    if -margin <= interval.low and interval.high <= margin:
        return Verdict.HOLDS
    return Verdict.FAILS if interval.low > margin or interval.high < -margin else Verdict.UNDECIDED
