"""bf16 on a CPU without bf16 arithmetic: the same values as its own slow kernels, and the same gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import deepseek_model
from torch import nn

from esft_lightning.moe import install_banks, recompute_layers, widen_linears, widened_arithmetic
from esft_lightning.moe.two_bank import set_bare_implementation
from esft_lightning.moe.widened_arithmetic import WidenedLinear, arithmetic_dtype
from esft_lightning.strategies import LoRA, trained_parameters

SELECTION = {1: [5, 2], 2: [0, 3, 7]}


@pytest.fixture
def without_arithmetic(monkeypatch):
    """A CPU that lacks bf16 instructions, whatever this one has."""
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: dtype == torch.float32)


def tokens() -> torch.Tensor:
    return torch.randint(3, 96, (2, 24), generator=torch.Generator().manual_seed(0))


def test_only_such_a_cpu_widens(monkeypatch, without_arithmetic):
    assert arithmetic_dtype(torch.bfloat16, torch.device("cpu")) == torch.float32
    assert arithmetic_dtype(torch.bfloat16, torch.device("cuda")) == torch.bfloat16
    assert arithmetic_dtype(torch.float32, torch.device("cpu")) == torch.float32
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: True)
    assert arithmetic_dtype(torch.bfloat16, torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize("block", [7 * 40, 2**22], ids=["in blocks", "at once"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_and_its_gradients(monkeypatch, without_arithmetic, block, bias):
    monkeypatch.setattr(widened_arithmetic, "_BLOCK", block)
    torch.manual_seed(0)
    stock = nn.Linear(40, 24, bias=bias).bfloat16()
    model = nn.Sequential(copy.deepcopy(stock))
    widen_linears(model)
    assert type(model[0]) is WidenedLinear
    found = []
    for one in (stock, model):
        x = torch.randn(3, 5, 40, generator=torch.Generator().manual_seed(1)).bfloat16().requires_grad_()
        y = one(x)
        y.backward(torch.ones_like(y))
        found.append((y, x.grad, *(parameter.grad for parameter in one.parameters())))
    for mine, theirs in zip(*found, strict=True):
        assert mine.dtype == theirs.dtype == torch.bfloat16
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=2e-2)


def gradients(model, checkpointing: bool = False):
    model.requires_grad_(False)
    install_banks(model, SELECTION)
    if checkpointing:
        recompute_layers(model.train())
    loss = model(tokens(), labels=tokens(), use_cache=False).loss
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in trained_parameters(model).items()}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_whole_model_trains_as_with_the_kernels_and_nearer_to_fp32(without_arithmetic, monkeypatch, checkpointing):
    exact_loss, exact = gradients(deepseek_model(dtype=torch.bfloat16).float())
    model = deepseek_model(dtype=torch.bfloat16)
    widen_linears(model)
    loss, found = gradients(model, checkpointing)
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: True)
    stock_loss, stock = gradients(deepseek_model(dtype=torch.bfloat16))
    torch.testing.assert_close(loss, stock_loss, rtol=1e-2, atol=0)
    torch.testing.assert_close(loss, exact_loss, rtol=1e-2, atol=0)

    def error(of):
        return sum(float((of[name] - value).norm()) for name, value in exact.items())

    assert error(found) < 1.1 * error(stock)
    assert all(value.dtype == torch.float32 and value.any() for value in found.values())


def test_a_frozen_layer_saves_no_rows(without_arithmetic):
    layer = nn.Linear(40, 24, bias=False).bfloat16().requires_grad_(False)
    widen_linears(nn.ModuleList([layer]))
    saved = []
    x = torch.randn(5, 40, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(x)
    assert [tuple(tensor.shape) for tensor in saved] == [(24, 40)]  # the weight that is there anyway


def test_lora_on_fused_experts_computes_and_learns_as_on_a_cpu_that_has_it(monkeypatch):
    """Peft puts base and update in the parameter's place while the experts compute."""
    found = []
    for has_arithmetic in (True, False):
        monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype, has=has_arithmetic: has)
        model = deepseek_model(dtype=torch.bfloat16)
        widen_linears(model)
        set_bare_implementation(model)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            LoRA(rank=2).apply(model)
            for parameter in trained_parameters(model).values():
                torch.nn.init.normal_(parameter, std=0.05)
        loss = model(tokens(), labels=tokens(), use_cache=False).loss
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in trained_parameters(model).values())])
    assert len(found[0]) > 10
    for stock, widened in zip(*found, strict=True):
        torch.testing.assert_close(widened, stock, rtol=5e-2, atol=5e-2 * float(stock.abs().max()))
