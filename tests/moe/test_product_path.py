"""Which way products of experts are taken on which device, and that it is said."""

from __future__ import annotations

import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.moe import install_banks, two_bank, widened_arithmetic
from esft_lightning.moe.described_products import described_products
from esft_lightning.moe.product_path import product_path

CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("capability", "dtype", "sizes", "path"),
    [
        ((9, 0), torch.bfloat16, (2048, 1024), "grouped kernel"),
        ((10, 0), torch.bfloat16, (2048, 1024), "grouped kernel"),
        ((9, 0), torch.float32, (2048, 1024), "grouped loop"),
        ((9, 0), torch.float16, (2048, 1024), "grouped loop"),
        ((9, 0), torch.float64, (2048, 1024), "plain loop"),
        ((9, 0), torch.bfloat16, (2048, 1023), "plain loop"),
        ((8, 0), torch.bfloat16, (2048, 1024), "grouped loop"),
        ((12, 0), torch.bfloat16, (2048, 1024), "grouped loop"),
        ((7, 5), torch.float16, (2048, 1024), "plain loop"),
    ],
)
def test_the_path_on_a_gpu(capability, dtype, sizes, path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert product_path(sizes, dtype, CUDA) == path


@pytest.mark.parametrize(("has_bf16", "path"), [(True, "grouped loop"), (False, "widened experts")])
def test_the_path_on_a_cpu(has_bf16, path, monkeypatch):
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: has_bf16)
    assert product_path((64, 32), torch.bfloat16, torch.device("cpu")) == path


def test_it_is_said_in_a_line():
    said = described_products(deepseek_model())
    assert said == "F.grouped_mm's own loop over experts, float32, cpu"
    assert "Transformers' loop" in described_products(deepseek_model(dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bank_without_rows_asks_no_kernel_and_has_zero_gradients(dtype, monkeypatch):
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: True)
    asked: list[int] = []
    grouped = torch.nn.functional.grouped_mm
    monkeypatch.setattr(two_bank.F, "grouped_mm", lambda x, *a, **k: (asked.append(len(x)), grouped(x, *a, **k))[1])
    model = deepseek_model(dtype=dtype).requires_grad_(False)
    install_banks(model, {1: [1, 6], 2: list(range(8))})
    for layer, index in ((1, [0, 3]), (2, [0, 3])):  # the trained bank of layer 1 gets no row, the frozen one of 2
        experts = model.model.layers[layer].mlp.experts
        hidden = torch.randn(10, 32, dtype=dtype, requires_grad=True)
        out = experts(hidden, torch.tensor(index).expand(10, 2), torch.full((10, 2), 0.5, dtype=dtype))
        (out * torch.randn_like(out)).sum().backward()
        assert hidden.grad.isfinite().all() and hidden.grad.any()
    assert asked and min(asked) == 20, "both of each token's rows, in one bank"
    for name, parameter in model.model.layers[1].mlp.experts.trained_bank.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name
