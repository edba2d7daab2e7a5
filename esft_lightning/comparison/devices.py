"""Which accelerators there are, known without loading torch, and which run gets which.

Written to CUDA's documented environment variable; not run on a machine with GPUs.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")
_NODES = Path("/dev")


def visible_devices(
    environment: Mapping[str, str] = os.environ, driver: Path = _DRIVER, nodes: Path = _NODES
) -> list[str]:
    """Names of the CUDA devices that this process may use, as `CUDA_VISIBLE_DEVICES` takes them.

    Args:
        environment: Environment variables.
        driver: Folder in which NVIDIA's Linux driver lists the machine's devices.
        nodes: Folder of the devices that this process was given, of which a container has fewer.

    Returns:
        What the variable names, else numbers of the devices there are, as CUDA counts them; empty where there is none.
    """
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",")]
        return [name for name in names if name and name != "-1"]
    if not driver.is_dir():
        return []
    given = [node for node in nodes.glob("nvidia*") if node.name.removeprefix("nvidia").isdecimal()]
    return [str(number) for number in range(len(given) or len(list(driver.iterdir())))]


class DevicePool:
    """Lends devices to runs: as many runs to each as there are jobs a device."""

    def __init__(self, devices: Sequence[str], jobs: int) -> None:
        """Deal out the places.

        Args:
            devices: Names of devices; without any, runs are lent None.
            jobs: Runs at the same time.
        """
        self._free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for place in range(jobs):
            self._free.put(devices[place % len(devices)] if devices else None)

    @contextmanager
    def lend(self) -> Iterator[str | None]:
        """A device for one run."""
        device = self._free.get()
        try:
            yield device
        finally:
            self._free.put(device)
