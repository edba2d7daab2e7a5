"""Multiply gradients by a number that only the device knows, without asking it."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from esft_lightning.moe.rounded_copies import LOW_PRECISION


def scale_gradients(optimizer: Optimizer, factor: Tensor) -> None:
    """Multiply the gradients of all parameters of an optimizer, in place.

    Args:
        optimizer: Whose parameters.
        factor: A float64 scalar, on any device.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            here = factor.to(gradient.device)
            if gradient.dtype in LOW_PRECISION:  # in which a scalar tensor, unlike a number, would be rounded first
                gradient.copy_(gradient.float().mul_(here))
            else:
                gradient.mul_(here)
