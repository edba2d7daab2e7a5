"""Freed memory goes back to the system, and oneDNN is told how much to keep."""

import os

import pytest
import torch

from benchmarks.own_process import in_a_process
from benchmarks.resident import resident_bytes
from esft_lightning.moe import load_model
from esft_lightning.moe.kept_memory import give_back_freed, give_back_large_blocks_when_freed

VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.skipif(not resident_bytes(), reason="the system does not tell what is resident")
def test_freed_memory_below_what_is_still_used_goes_back():
    blocks = [torch.ones(25_000) for _ in range(2000)]  # 100 kB each: the C library keeps these in its heap
    last = blocks[-1]
    del blocks
    kept = resident_bytes()
    give_back_freed()
    assert kept - resident_bytes() > 100_000_000
    assert last.sum() == 25_000


def kept_below_a_block_in_use() -> int:
    """Bytes that stay with the process when blocks of two megabytes are freed and a later one is not."""
    torch.ones(6_000_000).sum()  # freed as one of 24 MB: glibc then keeps smaller ones in its heap
    blocks = [torch.ones(500_000) for _ in range(100)]
    start, last = resident_bytes(), blocks[-1]
    del blocks
    kept = resident_bytes() - start + 99 * last.nbytes
    del last
    return kept


def told_and_kept() -> int:
    give_back_large_blocks_when_freed()
    return kept_below_a_block_in_use()


@pytest.mark.skipif(not resident_bytes(), reason="the system does not tell what is resident")
def test_large_blocks_go_back_when_freed_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**25))
    assert in_a_process(told_and_kept) > 100_000_000
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_")
    assert in_a_process(kept_below_a_block_in_use) > 100_000_000
    assert in_a_process(told_and_kept) < 20_000_000


@pytest.mark.parametrize("given", [None, "7"])
def test_loading_bounds_the_compiled_products_unless_told_otherwise(monkeypatch, given):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    load_model("tiny", random_weights=True)
    found = os.environ.pop(VARIABLE)
    assert found == (given or "16")
