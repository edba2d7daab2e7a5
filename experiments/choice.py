"""What a rate, a length or weights are chosen by: validation rows, never test rows.

The score on validation rows where all runs answered some, else the validation loss. One rule for a whole experiment, so
that no run is measured by another rule than the one beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from esft_lightning.comparison import RunResult


@dataclass(frozen=True)
class Choice:
    """The rule of one experiment.

    Attributes:
        by_score: Whether scores on validation rows decide; else the validation loss does.
    """

    by_score: bool

    @classmethod
    def of(cls, runs: Iterable[RunResult]) -> Choice:
        """The rule for these runs; base runs, which choose nothing, do not count."""
        trained = [run for run in runs if not run.spec.is_base]
        return cls(bool(trained) and all(run.kept_score is not None for run in trained))

    @property
    def measure(self) -> str:
        """What decides, in words."""
        return "score on validation rows" if self.by_score else "validation loss"

    @property
    def best(self) -> str:
        """The best of it, in words."""
        return f"the {'highest' if self.by_score else 'least'} {self.measure}"

    def value(self, run: RunResult) -> float | None:
        """Score in points, or loss in nats per labelled token, of a run's weights; None where it has none."""
        if self.by_score:
            return None if run.kept_score is None else 100 * run.kept_score
        return kept[1] if (kept := run.kept_validation) else None

    def mean(self, runs: Sequence[RunResult]) -> float | None:
        """Mean over runs, such as the seeds of a row; None where none has a value."""
        values = [value for run in runs if (value := self.value(run)) is not None]
        return statistics.fmean(values) if values else None

    def order(self, value: float) -> float:
        """A key by which the best value is the least."""
        return -value if self.by_score else value
