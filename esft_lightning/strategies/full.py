"""Full fine-tuning: every parameter of the language model trains."""

from __future__ import annotations

from typing import ClassVar

from transformers import PreTrainedModel

from esft_lightning.affinity import ExpertSelection
from esft_lightning.strategies.base import FineTuningStrategy, NothingToTrainError
from esft_lightning.strategies.groups import group_parameters


class FullFineTuning(FineTuningStrategy):
    """Train every parameter of the language model, router included: the paper's FFT.

    The vision and audio encoders of a multimodal model stay as they are: text gives them no gradient. The paper's rate
    is 3e-5. The router is trained without an auxiliary loss, as in the paper's fine-tuning.
    """

    default_learning_rate: ClassVar[float] = 3e-5
    opens_whole_parts = True
    trains_fused_experts = True

    def __init__(self, learning_rate: float | None = None, freeze_router: bool = False) -> None:
        """Set what stays frozen.

        Args:
            learning_rate: Learning rate; None takes the paper's 3e-5.
            freeze_router: Keep the routers as they are and train everything else, a cheap guard against routing that
                drifts while a task is learned.
        """
        super().__init__(learning_rate)
        self.freeze_router = freeze_router

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Open the language model, or all of it but the routers.

        Raises:
            NothingToTrainError: If the routers are to stay frozen and none is found.
        """
        groups = group_parameters(model)
        if self.freeze_router and "router" not in groups.values():
            raise NothingToTrainError(
                f"freeze_router is set, but no router parameter was found in {type(model).__name__}; "
                "everything would train: leave freeze_router off"
            )
        frozen = ("encoders", "router") if self.freeze_router else ("encoders",)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(groups[name] not in frozen)
