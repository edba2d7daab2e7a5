"""How many devices of a given size hold a training run.

Assumption: the model is split by whole layers, in order, one device after the other, each with the weights, gradients,
optimizer state and kept activations of its own layers, one micro-batch under way. No layer is split, nothing is
offloaded, and all of a device's memory is usable: give less than is printed on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from esft_lightning.budget.memory import MemoryEstimate, UnitMemory


@dataclass(frozen=True)
class Placement:
    """The smallest number of devices that holds a run.

    Attributes:
        devices: How many; None where a single part is larger than a device.
        largest: Name of the part that needs most by itself.
        largest_bytes: What that part needs.
    """

    devices: int | None
    largest: str
    largest_bytes: int


def place(memory: MemoryEstimate, device_bytes: int) -> Placement:
    """Split a run over as few devices as hold it.

    Args:
        memory: The run on one device.
        device_bytes: Usable bytes of each device.

    Returns:
        The placement; filling each device as far as it goes is the best that a split in order can do.
    """
    largest = max(memory.units, key=lambda unit: _need([unit]))
    needed = _need([largest])
    if memory.total <= device_bytes:
        return Placement(1, largest.name, needed)
    if needed > device_bytes:
        return Placement(None, largest.name, needed)
    devices, here = 1, []
    for unit in memory.units:
        if _need([*here, unit]) > device_bytes:
            devices, here = devices + 1, []
        here.append(unit)
    return Placement(devices, largest.name, needed)


def _need(units: Sequence[UnitMemory]) -> int:
    held = sum(unit.weights + unit.gradients + unit.optimizer + unit.kept for unit in units)
    return held + max(unit.working for unit in units)
