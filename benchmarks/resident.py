"""Resident memory of this process, as the kernel keeps it (`/proc/self/status`): now, and at its peak."""

from __future__ import annotations

from pathlib import Path


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


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
