"""What a part is given, and what it gives: checks with their limits, rows of a table, plain facts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.scale import Scale

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SkippedError(Exception):
    """A part, or all that is left of it, cannot be had here; the message says what is missing."""


@dataclass
class Outcome:
    """What a part found.

    Attributes:
        checks: What was held against what: `what`, `found`, `limit`, `passed`; a skipped one has a `reason` instead.
        rows: Measurements, a row each; all rows of a part are shown in one table.
        facts: What is neither.
    """

    checks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def near(self, what: str, found: Tensor, expected: Tensor, limit: float) -> None:
        """Check that two tensors differ by no more than a share of the expected one's norm."""
        found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
        distance = float((found - expected).norm() / expected.norm().clamp(min=1e-30))
        self.below(what, distance, limit)

    def below(self, what: str, found: float, limit: float) -> None:
        """Check that a number is no larger than a limit; NaN is."""
        self.checks.append({"what": what, "found": found, "limit": limit, "passed": bool(found <= limit)})

    def true(self, what: str, holds: bool, found: str = "") -> None:
        """Check that something holds."""
        self.checks.append({"what": what, "found": found or str(bool(holds)), "limit": "", "passed": bool(holds)})

    def skipped(self, what: str, reason: str) -> None:
        """Say that a check could not be made."""
        self.checks.append({"what": what, "found": "skipped", "limit": "", "passed": None, "reason": reason})

    @property
    def failed(self) -> list[str]:
        """Checks that did not hold."""
        return [f"{check['what']}: {check['found']}" for check in self.checks if check["passed"] is False]


@dataclass
class Context:
    """What every part is given.

    Attributes:
        device: Where it computes.
        accelerator: The same, as Lightning names it.
        scale: How large it is.
        folder: For its files; gone afterwards.
        outcome: Where it puts what it finds, as it finds it: what is there counts even if the part is cut.
        seconds: How long it may take.
        save: Keeps the outcome so far.
    """

    device: torch.device
    accelerator: str
    scale: Scale
    folder: Path
    outcome: Outcome = field(default_factory=Outcome)
    seconds: float = 60.0
    save: Callable[[], None] = lambda: None
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        """Whether there is something to measure."""
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds that the part still has."""
        return self.seconds - (time.monotonic() - self.started)

    def row(self, **cells: Any) -> None:
        """Add a row to the part's table, and keep it."""
        self.outcome.rows.append(cells)
        self.save()


@dataclass(frozen=True)
class Part:
    """One thing that is proven or measured.

    Attributes:
        name: On the command line.
        title: On the page.
        module: Where its function is, below this package.
        function: Its function, which takes a `Context`.
        seconds: How long it may take on a GPU.
    """

    name: str
    title: str
    module: str
    function: str
    seconds: int


PARTS = (
    Part("device", "The device", "facts", "device_facts", 30),
    Part("forwards", "Every forward and its gradients against a plain loop in fp32", "forwards", "check_forwards", 60),
    Part("frozen", "Frozen experts stay as they are", "training", "check_frozen", 40),
    Part("waits", "The host does not wait", "waiting", "check_waits", 40),
    Part("selection", "Profile and selection are the CPU's", "reading", "check_selection", 40),
    Part("generation", "Generation", "reading", "check_generation", 40),
    Part("resume", "A saved run goes on", "training", "check_resume", 40),
    Part("autocast", "Autocast", "training", "check_autocast", 30),
    Part("layers", "A step of published layers", "speed", "measure_layers", 100),
    Part("whole", "OLMoE-1B-7B's whole shape, and the budget's prediction", "whole", "measure_whole", 110),
    Part("profiling", "Profiling against a plain forward", "speed", "measure_profiling", 30),
    Part("pretraining", "Pretraining the embedded base", "embedded", "measure_pretraining", 50),
    Part("compare", "`make compare` on the device", "embedded", "run_compare", 120),
    Part("compile", "`torch.compile`", "compiled", "check_compiled", 90),
)
