"""Outcomes written by hand: scores are chosen, nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from esft_lightning.comparison import RunResult, RunSpec
from experiments.outcomes import Outcomes
from experiments.training_settings import read_settings

ROWS = 60


def rows_with_mean(mean: float, seed: int, count: int = ROWS) -> list[float]:
    """Zeros and ones with about that mean, of the same rows for every seed's easy and hard ones."""
    difficulty = np.linspace(0, 1, count, endpoint=False)
    noise = np.random.default_rng(seed).normal(0, 0.02, count)
    return [float(value) for value in (difficulty + noise < mean)]


def result_of(spec: RunSpec, task: float, general: float, **changes: Any) -> RunResult:
    """A finished run with about these scores."""
    general_rows = {f"general/{probe}": rows_with_mean(general, spec.seed) for probe in ("recall", "choice")}
    rows = {"task": rows_with_mean(task, spec.seed), **general_rows}
    rows |= {f"also/{name}": rows_with_mean(general / 2, spec.seed) for name in spec.also_test}
    after = {name: sum(values) / len(values) for name, values in rows.items()}
    after["general/average"] = sum(after[name] for name in general_rows) / 2
    after["general/loss"] = 3.0 - general
    selects = spec.strategy.startswith("ESFT") or spec.strategy == "RandomExperts"
    values: dict[str, Any] = {
        "after": after,
        "rows": rows,
        "losses": {"train": [1.0], "validation": [[spec.steps, 1.0 - task]]},
        "seconds": {"total": 30.0, "step": 0.2, "train": 20.0, "prepare": 2.0},
        "peak_memory_bytes": 10**8,
        "parameters": {"total": 1000, "trained": 0 if spec.is_base else 100},
        "adapter_bytes": 0 if spec.is_base else 400,
        "selected_experts": {"1": [0, 1], "2": [2]} if selects else {},
        "affinity": {"num_experts": 64},
        "learning_rate": 1e-3,
        "hardware": {"cpu": "abacus"},
        "commit": "0123456789ab",
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
    return RunResult(spec, "finished", **({"key": spec.content_hash} | values | changes))


def outcomes_of(
    experiment: str, scores: Callable[[str, RunSpec], tuple[float, float]], preset: str = "tiny", **changes: Any
) -> Outcomes:
    """The experiment's whole grid with the scores that `scores(label, spec)` gives."""
    settings = read_settings(experiment, preset, changes)
    found: dict[str, dict[str, list[RunResult]]] = {}
    for label, specs in settings.specs().items():
        for spec in specs:
            found.setdefault(label, {}).setdefault(spec.task, []).append(result_of(spec, *scores(label, spec)))
    return Outcomes(found, list(settings.tasks))


def without(outcomes: Outcomes, label: str, task: str) -> Outcomes:
    """The same with the runs of a label on a task missing."""
    rows = {name: {t: r for t, r in by.items() if (name, t) != (label, task)} for name, by in outcomes.rows.items()}
    return replace(outcomes, rows=rows, missing=1)
