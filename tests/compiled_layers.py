"""A layer with trained experts, compiled and not."""

import torch
from torch import nn


def check_one_graph(layer: nn.Module, hidden_size: int) -> None:
    """Compile a layer as one graph; its output and its bank's gradients must be the uncompiled layer's."""
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    hidden, gradient = (torch.randn(2, 24, hidden_size, dtype=torch.bfloat16) for _ in range(2))
    found = []
    for one in (layer, compiled):
        layer.zero_grad()
        out = one(hidden)
        out.backward(gradient)
        found.append((out.detach(), *(p.grad.clone() for p in layer.experts.trained_bank.parameters())))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=1e-3)
