"""LoRA on the relevant experts alone: ESFT's selection, LoRA's update (as MoE-Sieve, arXiv 2603.24044)."""

from __future__ import annotations

from typing import ClassVar

from transformers import PreTrainedModel

from esft_lightning.affinity import ExpertSelection
from esft_lightning.affinity.scores import Score
from esft_lightning.errors import SettingError
from esft_lightning.moe import install_low_rank_banks
from esft_lightning.strategies.esft import ESFT


class RelevantExpertLoRA(ESFT):
    """Train low-rank updates of the experts with the highest affinity to the task; everything else stays frozen."""

    default_learning_rate: ClassVar[float] = 1e-4

    def __init__(
        self,
        rank: int = 8,
        scaling: float = 2.0,
        score: Score = "token",
        top_p: float = 0.2,
        top_k: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Set the selection and the update.

        Args:
            rank: Rank of every pair of factors.
            scaling: Factor on the low-rank update.
            score: Affinity score, as `ESFT`'s.
            top_p: Experts are taken by falling score until their sum reaches this.
            top_k: Take this many experts in every layer instead of `top_p`.
            learning_rate: Learning rate; None takes LoRA's 1e-4.

        Raises:
            ValueError: If the rank is below 1, or the selection cannot be.
        """
        super().__init__(score, top_p, top_k, learning_rate=learning_rate)
        if rank < 1:
            raise SettingError(f"rank must be at least 1, got {rank}")
        self.rank = rank
        self.scaling = scaling

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Install low-rank banks of the selected experts."""
        if selection is None:
            raise SettingError(f"{self.name} needs experts to train: profile the task first")
        install_low_rank_banks(model, selection.experts, self.rank, self.scaling)
