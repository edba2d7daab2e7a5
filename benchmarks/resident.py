"""Memory of this process, now and at its peak: resident, as the kernel keeps it (`/proc/self/status`), and on CUDA."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def resident_bytes() -> int:
    """Resident memory of this process now; 0 where the system does not tell."""
    return _status("VmRSS")


def peak_resident_bytes() -> int:
    """The most since `reset_peak`; 0 where the system does not tell."""
    return _status("VmHWM")


def reset_peak() -> bool:
    """Let the peak be what is resident now.

    Returns:
        Whether the system can; where not, the peak stays that of the whole process.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def start_from_here() -> int:
    """`reset_peak`, for figures that are worth nothing without it.

    Returns:
        `resident_bytes`.

    Raises:
        OSError: If the system does not tell, or cannot start the peak anew.
    """
    now = resident_bytes()
    if not now or not reset_peak():
        raise OSError(
            "peak memory is read from /proc/self/status and started anew by /proc/self/clear_refs, as on Linux"
        )
    return now


def _cuda() -> Any:
    """`torch.cuda`, where this process has begun to use it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def peak_bytes() -> int:
    """The most since `start_peak`: allocated on the CUDA device that this process uses, else resident."""
    cuda = _cuda()
    return peak_resident_bytes() if cuda is None else cuda.max_memory_allocated()


def start_peak() -> int:
    """Start the peak anew, of the host's memory and of the device's.

    Returns:
        What is held now.

    Raises:
        OSError: As `start_from_here`.
    """
    resident, cuda = start_from_here(), _cuda()
    if cuda is None:
        return resident
    cuda.reset_peak_memory_stats()
    return cuda.memory_allocated()


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
