"""Frozen experts: everything trains except the routed experts."""

from __future__ import annotations

from typing import ClassVar

from transformers import PreTrainedModel

from esft_lightning.affinity import ExpertSelection
from esft_lightning.strategies.base import FineTuningStrategy
from esft_lightning.strategies.groups import group_parameters


class FrozenExperts(FineTuningStrategy):
    """Train attention, dense MLPs, shared experts, router, norms, embeddings and head; routed experts stay frozen.

    The row 'no routed, shared, non-expert' of the paper's Table 3. The paper gives no rate of its own for it; this is
    ESFT's, 1e-5.
    """

    default_learning_rate: ClassVar[float] = 1e-5
    opens_whole_parts = True

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Open all but the routed experts."""
        groups = group_parameters(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(groups[name] not in ("routed experts", "encoders"))
