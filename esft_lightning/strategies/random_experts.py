"""The paper's control (Table 4): as many experts per layer as ESFT would train, chosen at random."""

from __future__ import annotations

from typing import Literal

from esft_lightning.affinity import AffinityProfile, ExpertSelection, select_random, select_random_groups
from esft_lightning.strategies.esft import ESFT, expert_groups


class RandomExperts(ESFT):
    """Train as many experts in every layer as a given ESFT selection has, drawn at random."""

    def __init__(
        self,
        score: Literal["gate", "token"] = "token",
        top_p: float | None = None,
        seed: int = 0,
        learning_rate: float | None = None,
    ) -> None:
        """Set the selection whose counts are matched.

        Args:
            score: Score of the ESFT selection that gives the number of experts per layer.
            top_p: Its threshold; None takes the paper's for that score (gate 0.1, token 0.2).
            seed: Seed of the draw.
            learning_rate: Learning rate; None takes ESFT's 1e-5.
        """
        top_p = {"gate": 0.1, "token": 0.2}[score] if top_p is None else top_p
        super().__init__(score, top_p, learning_rate=learning_rate)
        self.seed = seed

    def select(self, profile: AffinityProfile) -> ExpertSelection:
        """Draw the same number of experts per layer as ESFT would take; whole groups where tokens go to groups."""
        grouping = expert_groups(profile)
        if grouping is not None:
            return select_random_groups(super().select(profile), grouping, seed=self.seed)
        return select_random(super().select(profile), profile.num_experts, seed=self.seed)
