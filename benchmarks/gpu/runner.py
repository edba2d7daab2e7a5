"""Runs the parts within a time, each within its own, and keeps a receipt after every message.

Parts run in a process that is ended when a part takes too long, and replaced when it dies: a part that hangs, or that
loses the device, costs itself alone.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu.part import PARTS, Part
from benchmarks.gpu.worker import work
from esft_lightning.comparison.environment import commit
from esft_lightning.storage import atomic_write

_START_SECONDS = 120  # of a process, until its first part begins
_EXIT_SECONDS = 20  # of a process that has run its last part
_GRACE = 1.5  # a part that looks at its time itself is not ended before this many times its own


def run(
    names: Sequence[str],
    *,
    accelerator: str,
    scale: str,
    minutes: float,
    receipt: Path,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run parts.

    Args:
        names: Which, in the order of `PARTS`.
        accelerator: As Lightning names it.
        scale: Name of the sizes.
        minutes: Time for all of them.
        receipt: The file; written as the parts go on.
        tell: Shown a line a part.

    Returns:
        What stands in the receipt.
    """
    started = time.monotonic()
    waiting = [part for part in PARTS if part.name in names]
    # Parts that need less than they may leave the rest to others; all together may ask for more than there is.
    content: dict[str, Any] = {
        "command": f"python -m benchmarks.gpu --device {accelerator} --scale {scale}",
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "scale": scale,
        "minutes": minutes,
        "parts": {},
    }

    def keep(name: str, result: dict[str, Any]) -> None:
        content["parts"][name] = result
        content["seconds"] = round(time.monotonic() - started, 1)
        atomic_write(receipt, (json.dumps(content, indent=1, default=str) + "\n").encode())

    while waiting:
        left = 60 * minutes - (time.monotonic() - started)
        if left <= 0:
            for part in waiting:
                keep(part.name, {"status": "skipped", "reason": f"the {minutes:g} minutes were over"})
                tell(f"{part.name:<12} skipped: the {minutes:g} minutes were over")
            break
        waiting = _in_a_process(waiting, accelerator, scale, started + 60 * minutes, keep, tell)
    return content


def _in_a_process(
    waiting: list[Part],
    accelerator: str,
    scale: str,
    deadline: float,
    keep: Callable[[str, dict[str, Any]], None],
    tell: Callable[[str], None],
) -> list[Part]:
    """Run parts in one process as long as it lives; returns those that are left."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    share = 1.0 if scale == "full" else 3.0  # sizes for a CPU, on a CPU
    end = time.time() + deadline - time.monotonic()
    arguments = ([part.name for part in waiting], accelerator, scale, share, end, theirs)
    process = context.Process(target=work, args=arguments, daemon=False)
    process.start()
    theirs.close()
    left, current = list(waiting), None
    so_far: dict[str, Any] = {}
    until, began = time.monotonic() + _START_SECONDS, time.monotonic()
    why = ""
    try:
        while True:
            if not ours.poll(max(0.0, min(until, deadline) - time.monotonic())):
                why = "all time was over" if time.monotonic() >= deadline else "it took longer than it may"
                break
            try:
                message = ours.recv()
            except (EOFError, OSError):
                process.join()
                why = f"its process ended with code {process.exitcode}"
                break
            if message[0] == "over":
                process.join(_EXIT_SECONDS)  # it puts its own things away; ended early, it would leave semaphores
                return []
            if message[0] == "begins":
                current, so_far, began = next(part for part in left if part.name == message[1]), {}, time.monotonic()
                until = began + _GRACE * share * current.seconds
            elif message[0] == "so far":
                so_far = message[2]
                keep(message[1], {"status": "running", "seconds": time.monotonic() - began, **so_far})
            else:
                keep(message[1], message[2])
                tell(_said(message[1], message[2]))
                left, current = [part for part in left if part.name != message[1]], None
                until = time.monotonic() + _START_SECONDS
    finally:
        ours.close()
        if process.is_alive():
            process.terminate()
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
    if current is None and left != waiting and time.monotonic() < deadline:
        return left  # the device was lost behind a part: the others get another process
    lost = left if left == waiting and current is None else [current or left[0]]
    for part in lost:  # a process that never begins, begins for none of them
        result = {"status": "cut", "reason": why, "seconds": time.monotonic() - began, **so_far}
        keep(part.name, result)
        tell(_said(part.name, result))
    return [part for part in left if part not in lost]


def _said(name: str, result: dict[str, Any]) -> str:
    checks = [check for check in result.get("checks", ()) if check["passed"] is not None]
    counted = f", {sum(check['passed'] for check in checks)} of {len(checks)} checks" if checks else ""
    reason = f": {result['reason']}" if result.get("reason") else ""
    return f"{name:<12} {result['status']} in {result['seconds']:.1f} s{counted}{reason}"
