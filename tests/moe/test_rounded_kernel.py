"""Products with NF4 experts by the grouped kernel of grouped-nf4-gemm: who takes it, and what it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from dequantized import dequantized

from esft_lightning.moe import quantised_bank, rounded_kernel
from esft_lightning.moe.rounded_kernel import is_installed, kernel_takes, rounded_kernel_mm
from esft_lightning.moe.rounded_weight import Int8Weight, NF4Weight

CUDA = torch.device("cuda", 0)
ENDS = (7, 7, 15, 20)  # of four experts, one without rows


@pytest.fixture
def on_a_gpu(monkeypatch):
    monkeypatch.setattr(rounded_kernel, "is_installed", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    return monkeypatch


def _nf4(rows: int = 32, columns: int = 128) -> NF4Weight:
    return NF4Weight.of(torch.randn(4, rows, columns), False)


def test_what_it_takes(on_a_gpu):
    weight = _nf4()
    assert kernel_takes(weight, torch.bfloat16, CUDA, False)
    assert not kernel_takes(weight, torch.bfloat16, CUDA, True), "another layout"
    assert not kernel_takes(weight, torch.float32, CUDA, False), "another dtype"
    assert not kernel_takes(_nf4(64, 96), torch.bfloat16, CUDA, False), "no whole blocks along the inputs"
    assert not kernel_takes(Int8Weight.of(torch.randn(4, 32, 128), False), torch.bfloat16, CUDA, False)
    assert not kernel_takes(weight, torch.bfloat16, torch.device("cpu"), False)
    on_a_gpu.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not kernel_takes(weight, torch.bfloat16, CUDA, False), "an older device"
    on_a_gpu.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    on_a_gpu.setattr(rounded_kernel, "is_installed", lambda: False)
    assert not kernel_takes(weight, torch.bfloat16, CUDA, False), "the package is not there"


@pytest.mark.parametrize(("have", "taken"), [("0.50.9", False), ("0.51.0", True), ("0.51.7", True), ("0.52.0", False)])
def test_versions_that_were_read_are_taken(have, taken, monkeypatch):
    monkeypatch.setattr(rounded_kernel, "version", lambda name: have)
    monkeypatch.setattr(rounded_kernel, "find_spec", lambda name: object())
    is_installed.cache_clear()
    assert is_installed() is taken
    is_installed.cache_clear()


def _as_the_package_says(weight: NF4Weight) -> ModuleType:
    """The package's two functions as its documentation has them: groups of rows, none of them empty."""
    full = dequantized(weight, False).to(torch.bfloat16).float()
    module = ModuleType("nf4_grouped")

    def product(x, values, scale, sizes, experts, transposed):
        assert x.is_contiguous() and x.dtype == torch.bfloat16 and min(sizes) > 0 and sum(sizes) == x.shape[0]
        assert values.shape == (4, 32, 64) and scale.shape == (4, 32, 2) and scale.dtype == torch.float32
        matrices = [full[expert] if transposed else full[expert].T for expert in experts]
        return torch.cat([p.float() @ m for p, m in zip(x.split(sizes), matrices, strict=True)]).to(torch.bfloat16)

    module.gemm_4bit_grouped = lambda *given: product(*given, transposed=False)  # type: ignore[attr-defined]
    module.dgrad_4bit_grouped = lambda *given: product(*given, transposed=True)  # type: ignore[attr-defined]
    return module


def _check(compute, weight: NF4Weight, rows: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(rows, 128).to(torch.bfloat16).requires_grad_()
    outer = torch.randn(rows, 32).to(torch.bfloat16)
    y = compute(x)
    (gradient,) = torch.autograd.grad(y, x, outer)
    full, wide = dequantized(weight, False), x.detach().float().requires_grad_()
    expected = torch.cat([wide[a:b] @ full[e].T for e, (a, b) in enumerate(pairwise((0, *ENDS)))])
    (by_rows,) = torch.autograd.grad(expected, wide, outer[: ENDS[-1]].float())
    assert y.dtype == gradient.dtype == torch.bfloat16 and y.shape == (rows, 32)
    torch.testing.assert_close(y[: ENDS[-1]].float(), expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))
    torch.testing.assert_close(gradient.float(), by_rows, rtol=2e-2, atol=2e-2 * float(by_rows.abs().max()))


@pytest.mark.parametrize("rows", [20, 23], ids=["all rows", "rows beyond the last end"])
def test_the_function_and_its_gradient(rows, monkeypatch):
    weight = _nf4()
    monkeypatch.setitem(sys.modules, "nf4_grouped", _as_the_package_says(weight))
    _check(lambda x: rounded_kernel_mm(x, weight, ENDS), weight, rows)


def test_it_takes_the_place_of_blocks(monkeypatch):
    weight = _nf4()
    monkeypatch.setitem(sys.modules, "nf4_grouped", _as_the_package_says(weight))
    monkeypatch.setattr(quantised_bank, "kernel_takes", lambda *given: True)
    monkeypatch.setattr(
        torch.compiler, "is_compiling", lambda: True
    )  # as on an accelerator: nothing by the host's loop
    monkeypatch.setattr(quantised_bank, "rounded_blocks_mm", None)
    offsets = torch.tensor(ENDS, dtype=torch.int32)
    _check(lambda x: quantised_bank.rounded_grouped_mm(x, weight, offsets, False, list(ENDS)), weight, 20)


def test_no_row_at_all_asks_for_nothing():
    weight = _nf4()
    x = torch.zeros(0, 128, dtype=torch.bfloat16, requires_grad=True)
    y = rounded_kernel_mm(x, weight, (0, 0, 0, 0))
    assert y.shape == (0, 32)
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.skipif(not is_installed(), reason="needs grouped-nf4-gemm and Triton (the extra `nf4-kernel`)")
def test_the_kernel_itself_in_triton_s_interpreter():
    """On a CPU, in a process of its own: Triton reads the switch when it is imported."""
    command = [sys.executable, "-c", f"import {__name__} as tests; tests.run_interpreted()"]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def run_interpreted() -> None:
    """What the process of the test above does."""
    nf4_grouped = import_module("nf4_grouped")
    # The interpreter replaces what a kernel finds in Triton's modules, and the package has bound this one beforehand.
    gather = partial(lambda triton, *given: triton.gather(*given), nf4_grouped.tl)
    vars(nf4_grouped)["_TL_GATHER"] = gather
    weight = _nf4()
    assert kernel_takes(weight, torch.bfloat16, torch.device("cpu"), False)
    _check(lambda x: rounded_kernel_mm(x, weight, ENDS), weight, 20)
