"""Results written by hand, for what is made from results alone."""

from __future__ import annotations

from typing import Any

from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.run_spec import RunSpec


def finished(task: str, strategy: str, seed: int = 0, *, score: float, general: float, **changes: Any) -> RunResult:
    """A finished run with the given scores in per cent; its base scored 10 and 50."""
    is_base = strategy == "base"
    spec = RunSpec(task, strategy, seed=seed, steps=0 if is_base else 5)
    values: dict[str, Any] = {
        "key": spec.content_hash,
        "before": {} if is_base else {"task": 0.1, "general/recall": 0.5, "general/average": 0.5},
        "after": {"task": score / 100, "general/recall": general / 100, "general/average": general / 100},
        "losses": {"train": [] if is_base else [2.0, 1.0], "validation": []},
        "seconds": {"total": 12.0} if is_base else {"total": 30.0, "step": 0.25},
        "peak_memory_bytes": 700_000_000,
        "parameters": {"total": 5_000_000, "trained": 0 if is_base else 250_000},
        "adapter_bytes": 0 if is_base else 1_234_567,
        "batches_digest": "" if is_base else f"{task}{seed}",
        "versions": {"python": "3.11"},
        "hardware": {"cpu": "abacus", "cores": 2, "threads": 2, "device": "cpu", "system": "Linux"},
    }
    return RunResult(spec=spec, status="finished", **(values | changes))


def failed(task: str, strategy: str, seed: int = 0, error: str = "ValueError: no") -> RunResult:
    """A failed run."""
    spec = RunSpec(task, strategy, seed=seed, steps=5)
    return RunResult(spec=spec, status="failed", key=spec.content_hash, error=error)
