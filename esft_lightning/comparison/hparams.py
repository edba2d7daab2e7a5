"""TensorBoard's HPARAMS tab: what each run was and what came out of it, complete and under names that all runs share.

A run writes its own settings. Which settings and outcomes there are at all is written once, in the overview;
until then TensorBoard gathers it from the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from esft_lightning.comparison.result import GENERAL, RunResult

__all__ = ["OUTCOMES", "outcome_of", "settings_of", "write_experiment", "write_session"]

OUTCOMES = (
    "final/task_score",
    "final/general_average",
    "final/train_loss",
    "final/validation_loss",
    "final/trained_parameters",
    "final/adapter_megabytes",
    "final/seconds_per_step",
    "final/peak_memory_megabytes",
)
"""What can come out of a run, in the order of the tab's columns."""


def settings_of(result: RunResult) -> dict[str, Any]:
    """A run's settings. The tab sorts them by name and shows the first few: what tells runs apart comes first."""
    spec = result.spec
    settings: dict[str, Any] = {
        "learning_rate": result.learning_rate,
        "seed": spec.seed,
        "strategy": spec.name,
        "task": spec.task,
        "with/base": spec.base,
        "with/steps": spec.steps,
    }
    arguments = (("with/strategy", spec.strategy_args), ("with/data", spec.data), ("with/model", spec.model))
    for prefix, values in arguments:
        settings |= {f"{prefix}/{k}": v for k, v in values.items() if isinstance(v, bool | int | float | str)}
    return settings


def outcome_of(result: RunResult) -> dict[str, float]:
    """What came out of a run, under the names of `OUTCOMES`; what it does not have is left out."""
    values = (
        result.after.get("task"),
        result.after.get(f"{GENERAL}average"),
        result.losses["train"][-1] if result.losses.get("train") else None,
        result.kept_validation[1] if result.kept_validation else None,
        float(result.parameters.get("trained", 0)),
        result.adapter_bytes / 1e6,
        result.seconds.get("step"),
        result.peak_memory_bytes / 1e6,
    )
    return {name: value for name, value in zip(OUTCOMES, values, strict=True) if value is not None}


def write_session(writer: Any, result: RunResult) -> None:
    """Write a run's settings into its own events.

    Args:
        writer: The `FileWriter` of the run's events.
        result: The run.
    """
    _, started, ended = _summaries(settings_of(result))
    writer.add_summary(started)
    writer.add_summary(ended)


def write_experiment(writer: Any, results: Sequence[RunResult]) -> None:
    """Write which settings and outcomes the runs have together; nothing where there is no finished run.

    Args:
        writer: The `FileWriter` of events that only this call writes such a list to.
        results: Results of any grid.
    """
    settings: dict[str, Any] = {}
    for run in results:
        if run.finished:
            settings = {**settings_of(run), **settings}
    if settings:
        writer.add_summary(_summaries(settings)[0])


def _summaries(settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Summaries of the list of settings and outcomes, and of a run's start and end."""
    return import_module("torch.utils.tensorboard.summary").hparams(settings, dict.fromkeys(OUTCOMES, 0.0))
