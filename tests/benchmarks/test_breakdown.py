"""Every operator's time is in one kind, and products are counted as they are needed."""

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.breakdown import EXPERTS, KINDS, OTHER_PRODUCTS, measure, seconds_by_kind
from benchmarks.targets import ESFT, FLOOR, FROZEN, FULL


def test_products_of_experts_are_told_from_others_and_nothing_is_lost() -> None:
    rows, weights = torch.randn(64, 32), torch.randn(2, 32, 32)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        F.grouped_mm(rows, weights, offs=torch.tensor([16, 64], dtype=torch.int32))
    alone = seconds_by_kind(recorded.events())
    assert alone[EXPERTS] > 0 and alone[OTHER_PRODUCTS] == 0
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        (rows @ weights[0]).softmax(-1)
    found = seconds_by_kind(recorded.events())
    assert found[EXPERTS] == 0 and found[OTHER_PRODUCTS] > 0 and found["elementwise"] > 0
    assert sum(found.values()) == pytest.approx(sum(e.self_cpu_time_total for e in recorded.events()) / 1e6)


def test_what_is_frozen_is_not_multiplied_for() -> None:
    result = measure("olmoe", "float32", quick=True, threads=1)["contenders"]
    assert all(tuple(one["seconds"]) == KINDS for one in result.values())
    flops = {label: one["flops"] for label, one in result.items()}
    assert flops[FROZEN] < flops[FLOOR] < flops[FULL]
    # Below the experts of the first layer nothing trains, and the floor's gradients go on to the embeddings.
    assert flops[ESFT] < flops[FLOOR]
