"""Which benchmarks there are, and of which pieces each consists. A benchmark's module is imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Piece:
    """One measurement with a result file of its own.

    Attributes:
        name: Name of the piece and its file.
        module: Module of this package with `measure(*arguments, quick, threads) -> dict`.
        arguments: What `measure` is told.
        pinned: Whether threads are bound to cores: right where torch alone computes.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    pinned: bool = True

    def measure(self, quick: bool, threads: int) -> dict[str, Any]:
        """Measure it, in this process.

        Args:
            quick: Take sizes whose timings mean nothing.
            threads: Threads of torch.
        """
        return import_module(f"benchmarks.{self.module}").measure(*self.arguments, quick=quick, threads=threads)


DTYPES = ("float32", "bfloat16")
STEPS = (("tiny", "float32"), *((shape, dtype) for shape in ("olmoe", "deepseek") for dtype in DTYPES))

PIECES: tuple[Piece, ...] = (
    *(Piece(f"{who}-{s}-{d}", "steps", (who, s, d)) for who in ("steps", "alternatives") for s, d in STEPS),
    *(Piece(f"breakdown-{shape}-{dtype}", "breakdown", (shape, dtype)) for shape, dtype in STEPS),
    *(Piece(f"experts_sweep-{dtype}", "experts_sweep", (dtype,)) for dtype in DTYPES),
    *(Piece(f"share_sweep-{dtype}", "share_sweep", (dtype,)) for dtype in DTYPES),
    *(Piece(f"profiling-{shape}", "profiling", (shape,)) for shape in ("tiny", "olmoe")),
    *(Piece(f"adapters-{dtype}", "adapters", (dtype,)) for dtype in DTYPES),
    Piece("fit_loop", "fit_loop", pinned=False),
    Piece("packing", "packing", pinned=False),
    Piece("startup", "startup", pinned=False),
)


NAMES = tuple(dict.fromkeys(piece.name.partition("-")[0] for piece in PIECES))


def chosen(names: Sequence[str] | None) -> list[Piece]:
    """The pieces that names stand for: a benchmark (`steps`), or a part of it (`steps-olmoe`, `steps-olmoe-float32`).

    Args:
        names: None takes all.

    Raises:
        ValueError: If a name stands for none.
    """
    if not names:
        return list(PIECES)
    found = []
    for name in names:
        matching = [piece for piece in PIECES if piece.name == name or piece.name.startswith(f"{name}-")]
        if not matching:
            raise ValueError(f"there is no benchmark {name!r}; expected one of {', '.join(NAMES)}, or a piece of one")
        found += [piece for piece in matching if piece not in found]
    return found
