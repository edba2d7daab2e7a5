"""How long do the light verbs take, from the command to its end?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.packing import reference_data


def measure(*, quick: bool, threads: int) -> dict[str, Any]:
    """Run each command several times, in processes of their own.

    Args:
        quick: Twice only.
        threads: Not used.

    Returns:
        `commands`: name → seconds of every run; `select` and `score` read the authors' files and are left out where
        the reference data is absent (see `packing`).
    """
    data = reference_data() / "esft"
    commands = {"--help": ["--help"]}
    with tempfile.TemporaryDirectory() as folder:
        if data.is_dir():
            commands["select"] = [
                "select", "--routing-log", str(data / "routing/intent.npz"), "--score", "token", "--top-p", "0.2",
                "--round", "4", "--layer-offset", "1", "--output", f"{folder}/expert_cfg.json",
            ]  # fmt: skip
            completions = data / "completions/gate/intent.jsonl"
            commands["score"] = ["score", "--task", "intent", "--completions", str(completions)]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(2 if quick else 10):
            for name, arguments in commands.items():
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "esft_lightning", *arguments], check=True, capture_output=True, timeout=60
                )
                seconds[name].append(time.perf_counter() - started)
    return {"commands": seconds}
