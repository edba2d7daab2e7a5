"""What rote earns on a run's evaluation rows, and how tables say it. Knows data modules and numbers, no models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from esft_lightning.comparison.summary import Summary
from esft_lightning.data.errors import DataError
from esft_lightning.tasks.rote import rote_baselines

log = logging.getLogger(__name__)

__all__ = ["ROTE", "best_rote", "rote_note", "rote_scores"]

ROTE = {
    "constant": "best constant answer",
    "random": "random training answer",
    "last_shot": "answer of the last example",
}
"""Baseline → what it is, in the order in which it is shown."""

_MOST_CONSTANTS = 200
"""Constant answers that are tried where rows are not embedded: scores of free text take a millisecond each."""


def rote_scores(data: Any, allow_code_execution: bool = False) -> dict[str, float]:
    """Score the baselines on a DataModule's evaluation rows, in [0, 1].

    Args:
        data: The run's DataModule; without training rows there is nothing to draw from, and the log says so.
        allow_code_execution: For code, whose answers are run.
    """
    try:
        answers = data.training_answers
    except DataError as error:
        log.info("no rote baselines: %s", error)
        return {}
    rote = rote_baselines(
        data.task,
        answers,
        data.test_samples,
        most_constants=None if data.source == "embedded" else _MOST_CONSTANTS,
        allow_code_execution=allow_code_execution,
    )
    return {name: round(getattr(rote, name), 6) for name in ROTE}


def rote_note(rows: Sequence[Summary]) -> str:
    """A sentence on what rote earns on one task, 0-100; empty where no base run measured it."""
    measured = _measured(rows)
    if not measured:
        return ""
    return "By rote: " + ", ".join(f"{meaning} {100 * measured[name]:.1f}" for name, meaning in ROTE.items()) + "."


def best_rote(rows: Sequence[Summary]) -> float | None:
    """The highest of the baselines of one task, in [0, 1]; None where no base run measured them."""
    return max(_measured(rows).values(), default=None)


def _measured(rows: Sequence[Summary]) -> Mapping[str, float]:
    return next((run.rote for row in rows for run in row.results if run.rote), {})
