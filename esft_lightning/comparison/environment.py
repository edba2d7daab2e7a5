"""Where a run was made: versions, machine, commit. Facts only; no heavy library is imported for them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from esft_lightning.versions import versions_of

_PACKAGES = ("torch", "lightning", "transformers", "peft", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, this library and what the numbers depend on."""
    return versions_of(_PACKAGES)


def hardware(threads: int, device: str = "cpu") -> dict[str, Any]:
    """The machine, without its name.

    Args:
        threads: Threads that torch computed with.
        device: Device that trained.
    """
    return {
        "device": device,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str | None:
    """Commit of the checkout that the library runs from, `+changes` where it has uncommitted ones; None outside git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "esft_lightning")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_bytes() -> int:
    """The largest resident memory that this process has had; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no /proc on this system; the platform's own word serves
    return platform.processor() or platform.machine()
