"""What decides a pretraining run, and what decides how fast it is. Knows sizes, rates and corpus; trains nothing."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from esft_lightning.embedded import TINY
from esft_lightning.embedded.corpus import corpus_digest
from esft_lightning.embedded.tiny_model import Shape
from esft_lightning.errors import UserError

__all__ = ["Machine", "Pretraining", "PretrainingError", "learning_rate_factor"]


class PretrainingError(UserError):
    """A pretraining run that cannot be begun or go on as asked."""


@dataclass(frozen=True)
class Pretraining:
    """What decides a run's weights.

    Attributes:
        steps: Length of the run.
        seed: Seed of weights, texts and row lengths.
        shape: Sizes of the model.
        batch_tokens: Tokens of a step.
        rate: Learning rate between warm-up and decay, of AdamW.
        matrix_rate: The same of Muon, which trains the matrices of attention and dense layers.
        warm_up: Steps over which the rate rises.
        opening: Steps of short rows of echoes, with which the run begins.
        decay: Share of the run over which the rate falls to zero, and in which the instruction stage is read.
        tokenizer: Folder of the tokenizer.
    """

    steps: int
    seed: int = 0
    shape: Shape = field(default_factory=Shape)
    batch_tokens: int = 3072
    rate: float = 3e-3
    matrix_rate: float = 1e-2
    warm_up: int = 100
    opening: int = 1000
    decay: float = 0.25
    tokenizer: str = str(TINY)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            PretrainingError: A number that makes no run; it is named.
        """
        if self.steps < 1:
            raise PretrainingError(f"steps={self.steps}: a run has at least one step")
        if not 0 < self.decay <= 1 or self.warm_up < 0 or self.rate <= 0 or self.matrix_rate <= 0:
            raise PretrainingError(
                f"decay={self.decay}, warm_up={self.warm_up}, rate={self.rate}, matrix_rate={self.matrix_rate}: "
                "expected a decay above 0 and up to 1, a warm-up of at least 0 steps and rates above 0"
            )

    @property
    def trunk(self) -> int:
        """Steps before rate and mixture change: the same in every run that differs in its length alone."""
        return self.steps - max(1, round(self.decay * self.steps))

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.batch_tokens

    def shortened(self, share: Fraction) -> Pretraining:
        """The same run at a share of its length."""
        return replace(self, steps=max(1, round(self.steps * share)))

    def described(self) -> dict[str, Any]:
        """Plain values, for files; tokenizer and corpus by a digest of what they are, wherever they lie."""
        tokenizer = hashlib.blake2b((Path(self.tokenizer) / "tokenizer.json").read_bytes(), digest_size=8).hexdigest()
        return asdict(self) | {"tokenizer": tokenizer, "corpus": corpus_digest()}


@dataclass(frozen=True)
class Machine:
    """What decides how fast a run is, and how often it is saved.

    Attributes:
        accelerator: As Lightning names it: `auto`, `cpu`, `cuda`, `mps`.
        precision: As Lightning names it.
        workers: Processes that make rows; 0 makes them in the loop's own.
        save_minutes: Time between saves.
        log_every: Steps between log lines.
    """

    accelerator: str = "auto"
    precision: Any = "32-true"
    workers: int = 1
    save_minutes: float = 5.0
    log_every: int = 50


def learning_rate_factor(step: int, settings: Pretraining) -> float:
    """Factor of the rate in step `step`, counted from 0: up to 1 in the warm-up, down to 0 after the last step."""
    rising = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    return min(rising, (settings.steps - step) / (settings.steps - settings.trunk + 1))
