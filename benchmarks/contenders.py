"""Who is measured: our strategies, and what a user would do instead. Each prepares a frozen model, then takes steps.

A contender trains in a plain PyTorch loop: loss over the labelled tokens, backward, fused AdamW, gradients dropped. All
of them share the loss, the data and the optimizer's settings, so that a step differs only in what is trained and how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import PreTrainedModel

from benchmarks.reference_loop import install_loops
from benchmarks.shapes import Batch, Selection
from esft_lightning.adapters import adapter_tensors
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import find_moe_layers
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.two_bank import IMPLEMENTATION
from esft_lightning.strategies import FineTuningStrategy

LEARNING_RATE = 1e-5


def adamw(parameters: Iterable[nn.Parameter], weight_decay: float = 0.1) -> AdamW:
    """The optimizer of every contender, with the settings of `ExpertFineTuner`."""
    return AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)


class Contender(ABC):
    """One way to train.

    Attributes:
        label: What tables call it.
        model: The model that it trains.
        optimizer: AdamW over what it trains; None where it trains nothing.
        parts: Seconds of the last step's parts, where it times any.
    """

    model: PreTrainedModel
    optimizer: AdamW | None
    token_loss: LabelledTokenLoss

    def __init__(self, label: str) -> None:
        """Name it."""
        self.label = label
        self.parts: dict[str, float] = {}
        self.on_update: Callable[[], None] | None = None

    @abstractmethod
    def prepare(self, model: PreTrainedModel, selection: Selection, batch: Batch) -> None:
        """Make a frozen stock model trainable, in place, and build the optimizer.

        Args:
            model: Every weight frozen, stock grouped matmul.
            selection: The experts to train, by layer.
            batch: The data of every step.
        """

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the labelled tokens."""
        result = self.token_loss(batch)
        return result.total / result.tokens

    def step(self, batch: Batch) -> float:
        """One whole optimizer step; returns the loss."""
        loss = self.loss(batch)
        loss.backward()
        if self.optimizer is not None:
            self.optimizer.step()
        self.after_update()
        return float(loss.detach())

    def after_update(self) -> None:
        """Drop the gradients; before that, let the measurement look at them."""
        if self.on_update is not None:
            self.on_update()
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that train."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def checkpoint_bytes(self) -> int:
        """Bytes of what has to be stored to use the result."""
        return sum(tensor.nbytes for _, tensor in adapter_tensors(self.model))


class Strategy(Contender):
    """One of this library's strategies."""

    def __init__(self, label: str, make: Callable[[], FineTuningStrategy]) -> None:
        """Name it.

        Args:
            label: What tables call it.
            make: Makes the strategy.
        """
        super().__init__(label)
        self.make = make

    def prepare(self, model: PreTrainedModel, selection: Selection, batch: Batch) -> None:
        """Apply the strategy; a selection without experts leaves a frozen model on the two-bank forward."""
        strategy = self.make()
        if strategy.needs_profile and not selection:
            model.set_experts_implementation(IMPLEMENTATION)
            model.get_input_embeddings().register_forward_hook(lambda module, args, output: output.requires_grad_())
            self.model, self.optimizer = model, None
        else:
            self.model = strategy.apply(model, ExpertSelection({layer: list(ids) for layer, ids in selection.items()}))
            self.optimizer = adamw(self.trained)
        self.token_loss = LabelledTokenLoss(self.model)


class GradientMask(Contender):
    """The fused tensors train, and a mask zeroes the gradients of the experts that are not selected."""

    def prepare(self, model: PreTrainedModel, selection: Selection, batch: Batch) -> None:
        """Open the fused tensors; no weight decay, which would move what is masked."""
        for entry in find_moe_layers(model):
            for parameter in entry.experts.parameters(recurse=False):
                sizes = entry.num_experts, *[1] * (parameter.dim() - 1)
                mask = torch.zeros(sizes, dtype=parameter.dtype, device=parameter.device)
                mask[list(selection.get(entry.layer, []))] = 1
                parameter.requires_grad_(True)
                parameter.register_post_accumulate_grad_hook(_masked_by(mask))
        self.model = model
        self.optimizer = adamw(self.trained, weight_decay=0.0)
        self.token_loss = LabelledTokenLoss(model)


def _masked_by(mask: Tensor) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        if parameter.grad is not None:
            parameter.grad.mul_(mask)

    return hook


class PerExpertLoop(Contender):
    """A `ModuleList` of experts, the selected ones trained in the base's dtype: how the original works."""

    def prepare(self, model: PreTrainedModel, selection: Selection, batch: Batch) -> None:
        """Put loops in the place of the fused experts."""
        self.loops = install_loops(model, selection)
        self.model = model
        self.optimizer = adamw(self.trained)
        self.token_loss = LabelledTokenLoss(model)

    def checkpoint_bytes(self) -> int:
        """The selected experts."""
        return sum(parameter.nbytes for parameter in self.trained)
