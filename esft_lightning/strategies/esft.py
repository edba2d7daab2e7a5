"""Expert-Specialized Fine-Tuning: only the routed experts that the task uses train (the paper's section 3)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from transformers import PreTrainedModel

from esft_lightning.affinity import (
    AffinityProfile,
    ExpertGrouping,
    ExpertSelection,
    select_groups,
    select_top_k,
    select_top_p,
)
from esft_lightning.affinity.scores import MEASURED, Score, check_choices
from esft_lightning.errors import SettingError
from esft_lightning.moe import install_banks
from esft_lightning.strategies.base import FineTuningStrategy
from esft_lightning.strategies.groups import group_parameters

log = logging.getLogger(__name__)


class ESFT(FineTuningStrategy):
    """Train the experts with the highest affinity to the task, per layer, in two-bank experts.

    Router, attention, norms, embeddings and all other experts stay frozen unless a switch opens them. `ESFTGate` and
    `ESFTToken` are this class with the paper's two scores.
    """

    default_learning_rate: ClassVar[float] = 1e-5
    opens_whole_parts = True

    def __init__(
        self,
        score: Score = "token",
        top_p: float = 0.2,
        top_k: int | None = None,
        average: Literal["token", "sample"] = "token",
        normalize: bool = False,
        routed_experts: bool = True,
        shared_experts: bool = False,
        non_expert_modules: bool = False,
        expert_config: str | Path | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Set what is selected and what else trains.

        Args:
            score: Affinity score: mean gate (eq. 6) or share of selections (eq. 7); beyond the paper gate × norm of
                the output, gate × activation, or Fisher information, where `top_p` is a share of the layer's sum (see
                `affinity.scores.MEASURED`).
            top_p: Experts are taken by falling score until their sum reaches this (eq. 8), at least one a layer.
            top_k: Take this many experts in every layer instead of `top_p`.
            average: Average scores over all tokens (as the authors' files) or over samples first (as the equations).
            normalize: Divide a layer's scores by their sum, so that `top_p` is a share in every family.
            routed_experts: Train the selected routed experts; False leaves only the switches below (Table 3).
            shared_experts: Train the shared experts too (Table 3).
            non_expert_modules: Train attention, dense MLPs, router, norms, embeddings and head too (Table 3).
            expert_config: An `expert_cfg.json` to train as it is, its two switches included, instead of profiling.
            learning_rate: Learning rate; None takes the paper's 1e-5.

        Raises:
            ValueError: If `top_p` or `top_k` is out of range, or if no part is left to train.
        """
        super().__init__(learning_rate)
        if not top_p > 0:
            raise SettingError(f"top_p must be above 0, got {top_p}")
        if top_p > 1 and (normalize or score != "gate"):  # raw gates of some families sum to more than 1
            raise SettingError(f"top_p is a share of a layer's scores here, at most 1, got {top_p}")
        if top_k is not None and top_k < 1:
            raise SettingError(f"top_k must be at least 1, got {top_k}")
        if not (routed_experts or shared_experts or non_expert_modules):
            raise SettingError("routed_experts, shared_experts and non_expert_modules are all off: nothing would train")
        check_choices(score, average)
        self.score: Score = score
        self.top_p = top_p
        self.top_k = top_k
        self.average: Literal["token", "sample"] = average
        self.normalize = normalize
        self.routed_experts = routed_experts
        self.shared_experts = shared_experts
        self.non_expert_modules = non_expert_modules
        self.expert_config = None if expert_config is None else ExpertSelection.load(expert_config)

    @property
    def measured_scores(self) -> tuple[str, ...]:
        """The score, where routing alone does not give it."""
        return (self.score,) if self.score in MEASURED else ()

    @property
    def needs_profile(self) -> bool:
        """True unless the experts are given, or no routed expert trains."""
        return self.routed_experts and self.expert_config is None

    def select(self, profile: AffinityProfile) -> ExpertSelection:
        """Select experts by the score, layer by layer (eq. 8); warns where a raw threshold means something else.

        Where tokens are routed to groups of experts, whole groups are selected.
        """
        if self.top_k is None and (warning := profile.raw_p_warning(self.score, self.normalize)):
            log.warning(warning)
        scores = profile.scores(self.score, average=self.average, normalize=self.normalize)
        grouping = expert_groups(profile)
        if grouping is not None:
            top_p = self.top_p if self.top_k is None else None
            selection = select_groups(scores, profile.layers, grouping, top_p=top_p, top_k=self.top_k)
        elif self.top_k is None:
            selection = select_top_p(scores, profile.layers, self.top_p)
        else:
            selection = select_top_k(scores, profile.layers, self.top_k)
        return replace(selection, shared_experts=self.shared_experts, non_expert_modules=self.non_expert_modules)

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Install banks of the selected experts and open the parts that the switches name."""
        selection = selection or self.expert_config
        if selection is None:
            if self.routed_experts:
                raise SettingError(
                    f"{self.name} needs experts to train: profile the task first, or give an expert_config"
                )
            selection = ExpertSelection({}, self.shared_experts, self.non_expert_modules)
        open_parts(model, selection)
        if self.routed_experts:
            try:
                install_banks(model, selection.experts)
            except SettingError as error:
                raise SettingError(f"{'expert_config' if self.expert_config else 'selection'}: {error}") from error


class ESFTGate(ESFT):
    """ESFT by average gate score (eq. 6); the paper's p is 0.1, an absolute amount of gate mass."""

    def __init__(self, top_p: float = 0.1, **options: Any) -> None:
        """Set the selection.

        Args:
            top_p: Experts are taken by falling mean gate until their sum reaches this (eq. 8), at least one a layer.
            options: Any other setting of `ESFT`.
        """
        super().__init__(score="gate", top_p=top_p, **options)


class ESFTToken(ESFT):
    """ESFT by token selection ratio (eq. 7); the paper's p is 0.2, a share of all selections."""

    def __init__(self, top_p: float = 0.2, **options: Any) -> None:
        """Set the selection.

        Args:
            top_p: Experts are taken by falling share of selections until their sum reaches this (eq. 8).
            options: Any other setting of `ESFT`.
        """
        super().__init__(score="token", top_p=top_p, **options)


def expert_groups(profile: AffinityProfile) -> ExpertGrouping | None:
    """The groups of experts that tokens were routed to while the profile was made; None where there were none."""
    found = profile.metadata.get("expert_groups")
    return None if found is None else ExpertGrouping.from_dict(found)


def open_parts(model: PreTrainedModel, selection: ExpertSelection) -> None:
    """Set `requires_grad` on the shared experts and the non-expert modules, where the selection says so."""
    if not (selection.shared_experts or selection.non_expert_modules):
        return
    groups = group_parameters(model)
    for name, parameter in model.named_parameters():
        if groups[name] == "shared experts":
            parameter.requires_grad_(selection.shared_experts)
        elif groups[name] not in ("routed experts", "encoders"):
            parameter.requires_grad_(selection.non_expert_modules)
