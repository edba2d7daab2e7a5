"""How many devices hold a run: whole layers, in order."""

from esft_lightning.budget.devices import place
from esft_lightning.budget.memory import MemoryEstimate, UnitMemory


def run_of(*weights: int, working: int = 0) -> MemoryEstimate:
    units = tuple(UnitMemory(f"layer {i}", size, 0, 0, 0, working) for i, size in enumerate(weights))
    return MemoryEstimate(sum(weights), 0, 0, working, units)


def test_one_device_holds_what_fits():
    assert place(run_of(4, 4, 4), 12).devices == 1
    assert place(run_of(4, 4, 4, working=1), 12).devices == 2


def test_layers_are_not_split():
    assert place(run_of(7, 7, 7), 11).devices == 3  # 21 bytes, but no two layers fit together
    assert place(run_of(5, 5, 5, 5), 11).devices == 2


def test_a_part_larger_than_a_device_is_named():
    placement = place(run_of(1, 30, 1), 20)
    assert placement.devices is None
    assert (placement.largest, placement.largest_bytes) == ("layer 1", 30)
