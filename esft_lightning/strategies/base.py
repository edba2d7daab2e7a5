"""What every strategy is: a rule for which parameters of a loaded model train.

A new strategy is one small class:

    class NormsOnly(FineTuningStrategy):
        default_learning_rate = 1e-4

        def make_trainable(self, model, selection=None):
            for name, parameter in model.named_parameters():
                parameter.requires_grad_("norm" in name)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.errors import SettingError, UserError
from esft_lightning.moe import (
    QuantisationError,
    TrainedBank,
    experts_dtype,
    find_moe_layers,
    is_quantised,
    keep_masters,
)
from esft_lightning.moe.bank_gradients import expect_gradients


class NothingToTrainError(UserError, ValueError):
    """A strategy left a model without a single trainable parameter."""


class FineTuningStrategy(ABC):
    """Which parameters train, and at which rate.

    Attributes:
        default_learning_rate: The rate that the paper found for this strategy on DeepSeek-V2-Lite.
        learning_rate: The rate in use; `model.learning_rate_scale` multiplies it.
        trains_fused_experts: Whether it trains or adapts the base's own routed experts, all of them, rather than banks
            of selected ones; a quantised base is then refused.
        opens_whole_parts: Whether it opens parts of a model as their family built them, in which some parameters may
            get no gradient: a run then warns of those, where it refuses a strategy that names them one by one.
    """

    default_learning_rate: ClassVar[float] = 1e-5
    trains_fused_experts: bool = False
    opens_whole_parts: ClassVar[bool] = False

    def __init__(self, learning_rate: float | None = None) -> None:
        """Set the rate.

        Args:
            learning_rate: Learning rate; None takes the strategy's own default.

        Raises:
            SettingError: If it is below 0.
        """
        if learning_rate is not None and not learning_rate >= 0:
            raise SettingError(f"learning_rate must be at least 0, got {learning_rate}")
        self.learning_rate = self.default_learning_rate if learning_rate is None else learning_rate

    @property
    def name(self) -> str:
        """The class's name, as tables and run folders show it."""
        return type(self).__name__

    @property
    def needs_profile(self) -> bool:
        """Whether experts must be selected from an affinity profile before training."""
        return False

    @property
    def measured_scores(self) -> tuple[str, ...]:
        """Scores of `affinity.scores.MEASURED` that the profile must hold for `select`."""
        return ()

    def select(self, profile: AffinityProfile) -> ExpertSelection:
        """Choose experts from a profile; only strategies with `needs_profile` do.

        Args:
            profile: Affinity of the untouched model's experts to the task.

        Returns:
            The experts to train.

        Raises:
            TypeError: If this strategy selects no experts.
        """
        raise TypeError(f"{self.name} selects no experts")

    def apply(
        self, model: PreTrainedModel, selection: ExpertSelection | None = None, *, masters: bool = True
    ) -> PreTrainedModel:
        """Freeze the model, then open what this strategy trains, and keep that in fp32.

        Args:
            model: The untouched base model; changed in place.
            selection: Experts to train, where the strategy selects.
            masters: Keep what trains in fp32, whatever dtype the base has (`moe.master_weights`). Without them it stays
                in the base's dtype, low-rank factors excepted, and takes an optimizer that loses no small update.

        Returns:
            The same model.

        Raises:
            NothingToTrainError: If nothing is left to train.
            QuantisationError: If it trains routed experts that are quantised.
            ValueError: If the strategy needs a selection and none is given, or the selection is another model's.
        """
        if self.trains_fused_experts and is_quantised(model):
            raise QuantisationError(
                f"{self.name} trains or adapts every routed expert, which a base with quantised experts does not hold "
                "in full; leave quantize_experts off, or choose a strategy that selects experts"
            )
        model.requires_grad_(False)
        self.make_trainable(model, selection)
        if not trained_parameters(model):
            raise NothingToTrainError(
                f"{self.name} leaves nothing to train in {type(model).__name__}; choose other parts or experts"
            )
        if masters:
            keep_masters(model)
        else:
            _train_banks_in_base_dtype(model)
        expect_gradients(model)
        return model

    @abstractmethod
    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Open parameters of a fully frozen model: set `requires_grad`, or add trainable ones.

        Args:
            model: The frozen model; changed in place.
            selection: Experts to train, where the strategy selects.
        """


def _train_banks_in_base_dtype(model: PreTrainedModel) -> None:
    for entry in find_moe_layers(model):
        bank = entry.experts._modules.get("trained_bank")
        if isinstance(bank, TrainedBank):
            bank.to(experts_dtype(entry.experts))


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by their names in the model."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
