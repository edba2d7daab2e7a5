"""Banks that a strategy opened must stay open: whoever freezes them afterwards would train without them, in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from esft_lightning.errors import UserError

if TYPE_CHECKING:
    from esft_lightning.moe.two_bank import ExpertBank


class FrozenBankError(UserError, RuntimeError):
    """Trained experts no longer require gradients, and the model is being trained."""


def expect_gradients(model: nn.Module) -> None:
    """Note that the banks of a model train from here on; see `check_gradients`."""
    from esft_lightning.moe.two_bank import banks

    for _, bank in banks(model):
        bank.trains = True


def check_gradients(bank: ExpertBank, training: bool) -> None:
    """Refuse a training forward through a bank that was opened for training and that something else has frozen since.

    Args:
        bank: The bank.
        training: Whether its experts are in train mode.

    Raises:
        FrozenBankError: With what usually does it.
    """
    if bank.trains and training and torch.is_grad_enabled() and not any(p.requires_grad for p in bank.parameters()):
        raise FrozenBankError(
            f"the trained experts {bank.expert_ids} no longer require gradients: something froze them after they were "
            "opened, as peft's get_peft_model does with every parameter but its own; set requires_grad on the "
            "parameters below `trained_bank` again before the optimizer is made, or train with one of the two alone"
        )
