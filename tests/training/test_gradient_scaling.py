"""Gradients times a scalar that only the device knows: as if the number had been read."""

import pytest
import torch
from torch import nn

from esft_lightning.training.gradient_scaling import scale_gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_equals_multiplication_by_the_number(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(40, 7).to(dtype)), nn.Parameter(torch.randn(5).to(dtype))]
    optimizer = torch.optim.SGD([{"params": parameters[:1]}, {"params": parameters[1:]}])
    gradient = torch.randn(40, 7).to(dtype)
    parameters[0].grad = gradient.clone()
    scale_gradients(optimizer, torch.tensor(1 / 1237, dtype=torch.float64))
    assert torch.equal(parameters[0].grad, gradient * (1 / 1237))
    assert parameters[1].grad is None
