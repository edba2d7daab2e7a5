"""Rows of the embedded probes for the harness, made where they are asked for.

Not part of the package's imports: the harness loads this file by its path, beside the task files that name it.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from esft_lightning.embedded.general_probes import probes
from esft_lightning.scoring.general import score_recall


def _made(probe: str) -> dict[str, Dataset]:
    return {"test": Dataset.from_list(probes()[probe])}


def recall(**_: Any) -> dict[str, Dataset]:
    """Facts of pretraining, asked for in a wording never met."""
    return _made("recall")


def continuation(**_: Any) -> dict[str, Dataset]:
    """Which step comes next."""
    return _made("continuation")


def multiple_choice(**_: Any) -> dict[str, Dataset]:
    """Which of four named options is right."""
    return _made("multiple_choice")


def reference(**_: Any) -> dict[str, Dataset]:
    """Whom the story means."""
    return _made("reference")


def answered(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether a generated answer names the fact, by the probe's own rule."""
    return {"acc": float(score_recall(results[0], doc))}
