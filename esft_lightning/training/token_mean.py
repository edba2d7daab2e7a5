"""A mean over tokens that reads nothing back: torchmetrics' own looks for NaN in every update, and waits for that.

(With `nan_strategy="disable"` it does not look, but drops the weights, in torchmetrics 1.9.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class TokenMean(Metric):
    """Sum over tokens, divided by their number; over ranks, too. A NaN among them stays one."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    tokens: Tensor

    def __init__(self, **kwargs: Any) -> None:
        """Start with nothing counted.

        Args:
            kwargs: torchmetrics' own.
        """
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, total: Tensor, tokens: Tensor) -> None:
        """Add a batch.

        Args:
            total: Sum over its tokens, a scalar.
            tokens: Their number; without any, the sum is left out.
        """
        self.total = self.total + torch.where(tokens > 0, total.detach().to(self.total.dtype), 0.0)
        self.tokens = self.tokens + tokens

    def compute(self) -> Tensor:
        """The mean; NaN where no token was counted."""
        return self.total / self.tokens
