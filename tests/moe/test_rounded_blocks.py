"""Blocks of rounded experts against one expert at a time: the same products and gradients, a block widened at once."""

from __future__ import annotations

import pytest
import torch

from esft_lightning.moe import rounded_blocks
from esft_lightning.moe.quantised_bank import by_expert_mm
from esft_lightning.moe.rounded_blocks import rounded_blocks_mm
from esft_lightning.moe.rounded_weight import ROUNDED

ENDS = {"uneven": [3, 3, 10, 10, 10, 17, 20], "one": [0, 0, 0, 20, 20, 20, 20], "none": [0] * 7}


@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("experts_a_block", [1, 2, 100])
def test_products_and_gradients_equal_those_of_single_experts(
    quantisation, is_transposed, ends, experts_a_block, monkeypatch
):
    if quantisation == "nf4":
        pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(rounded_blocks, "BLOCK_BYTES", experts_a_block * 64 * 32 * 4)
    torch.manual_seed(0)
    shape = (7, 64, 32) if is_transposed else (7, 32, 64)
    weight = ROUNDED[quantisation].of(torch.randn(shape), is_transposed)
    offsets = torch.tensor(ends, dtype=torch.int32)
    given = torch.randn(2, ends[-1], 64)
    outer = torch.randn(ends[-1], 32)
    results = []
    for x, multiply in zip(
        given[:1].expand(2, -1, -1).clone().requires_grad_().unbind(),
        (
            lambda x: rounded_blocks_mm(x, weight, offsets, ends, is_transposed),
            lambda x: by_expert_mm(x, weight.values, offsets, is_transposed, weight.scale),
        ),
        strict=True,
    ):
        x.retain_grad()
        product = multiply(x)
        (product * outer).sum().backward()
        results.append((product.detach(), x.grad))
    for blocks, single in zip(*results, strict=True):
        assert blocks.shape == single.shape
        assert torch.allclose(blocks, single, atol=1e-4)


def test_a_block_is_widened_at_a_time_and_only_where_there_are_rows(monkeypatch):
    monkeypatch.setattr(rounded_blocks, "BLOCK_BYTES", 2 * 64 * 32 * 4)
    weight = ROUNDED["int8"].of(torch.randn(8, 32, 64), False)
    widened: list[int] = []
    of_all = type(weight).of_all
    monkeypatch.setattr(type(weight), "of_all", lambda w, dtype: (widened.append(len(w.values)), of_all(w, dtype))[1])
    ends = [4, 4, 4, 4, 4, 9, 9, 9]
    rounded_blocks_mm(torch.randn(9, 64), weight, torch.tensor(ends, dtype=torch.int32), ends, False)
    assert widened == [2, 2], "experts 0 and 1, 4 and 5"
