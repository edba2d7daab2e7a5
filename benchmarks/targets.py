"""What the library holds itself to, and whether results meet it. Knows numbers, and nothing of how they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.timing import median, ratio

ESFT = "ESFT"
FULL = "full fine-tuning"
MASK = "gradient mask"
ROUTED_LORA = "LoRA on routed experts"
LOOP = "per-expert loop"
FROZEN = "frozen model"
FLOOR = "floor"
STRICT_FLOOR = "floor from the first trained layer"

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """One target on one case.

    Attributes:
        target: What is compared.
        case: Shape and dtype, or the like.
        measured: The figure.
        limit: The most that it may be.
        unit: Of both: `×` for ratios, `s` for seconds.
        floor: What the floor from the first trained layer reaches in ESFT's place, where that is known: a limit below
            it asks for less than the least work.
    """

    target: str
    case: str
    measured: float
    limit: float
    unit: str = "×"
    floor: float | None = None

    @property
    def met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.measured <= self.limit


def by_label(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The contenders of a measured shape, by their labels."""
    return {contender["label"]: contender for contender in result["contenders"]}


def verdicts(results: Results) -> list[Verdict]:
    """Every target that the results speak of, in the order of the results.

    Args:
        results: Piece → its result.
    """
    judges = {
        "steps": _steps,
        "alternatives": lambda result: _alternatives(result, _steps_beside(result, results)),
        "experts_sweep": _experts_sweep,
        "profiling": _profiling,
        "adapters": _adapters,
        "fit_loop": _fit_loop,
        "packing": _packing,
        "startup": _startup,
    }
    found: list[Verdict] = []
    for name, judge in judges.items():
        for piece, result in results.items():
            if piece.partition("-")[0] == name:
                found += judge(result)
    return found


def _steps(result: Mapping[str, Any]) -> Iterator[Verdict]:
    case = f"{result['shape']['name']}, {result['dtype']}"
    found = by_label(result)
    esft, least = found[ESFT], found.get(STRICT_FLOOR)
    for other, limit in ((FLOOR, 1.05), (FULL, 0.60 if result["dtype"] == "float32" else 0.35)):
        theirs = found[other]["seconds"]
        floor = ratio(least["seconds"], theirs) if least else None
        yield Verdict(f"ESFT step / {other}", case, ratio(esft["seconds"], theirs), limit, floor=floor)
    held = esft["gradient_bytes"] + esft["optimizer_bytes"]
    yield Verdict("gradients and optimizer state / needed", case, held / esft["needed_bytes"], 1.02)
    allowed = found[FROZEN]["saved_bytes"] + result["selected_activation_bytes"][str(esft["selected"])]
    yield Verdict("saved activations / frozen model's and the selected rows'", case, esft["saved_bytes"] / allowed, 1.0)


def _steps_beside(result: Mapping[str, Any], results: Results) -> Mapping[str, Any] | None:
    """The line-up with the floor of the same shape and dtype, if it was measured."""
    return results.get(f"steps-{result['shape']['name']}-{result['dtype']}")


def _alternatives(result: Mapping[str, Any], steps: Mapping[str, Any] | None) -> Iterator[Verdict]:
    case = f"{result['shape']['name']}, {result['dtype']}"
    found, beside = by_label(result), by_label(steps or {"contenders": []})
    # The floor is not in this line-up; ESFT is in both.
    least = ratio(beside[STRICT_FLOOR]["seconds"], beside[ESFT]["seconds"]) if STRICT_FLOOR in beside else None
    for other, limit in ((MASK, 0.5), (ROUTED_LORA, 0.4), (LOOP, 0.5)):
        measured = ratio(found[ESFT]["seconds"], found[other]["seconds"])
        floor = least * measured if least is not None else None
        yield Verdict(f"ESFT step / {other}", case, measured, limit, floor=floor)


def _experts_sweep(result: Mapping[str, Any]) -> Iterator[Verdict]:
    sizes = result["sizes"]
    few, many = ("64", "512") if "512" in sizes else (min(sizes, key=int), max(sizes, key=int))
    for label in [name for name in by_label(sizes[few]) if name.startswith(ESFT)]:
        factors = []
        for size in (few, many):
            found = by_label(sizes[size])
            factors.append(ratio(found[label]["seconds"], found[FROZEN]["seconds"]))
        case = f"{sizes[few]['dtype']}, {label.partition(', ')[2]} selected"
        yield Verdict(f"ESFT step / frozen model: {many} experts over {few}", case, factors[1] / factors[0], 1.10)


def _profiling(result: Mapping[str, Any]) -> Iterator[Verdict]:
    yield Verdict("profiling / plain forward", result["shape"], ratio(result["profile"], result["plain"]), 1.05)


def _adapters(result: Mapping[str, Any]) -> Iterator[Verdict]:
    names = {
        "install": "installing an adapter",
        "replace": "replacing one by another",
        "switch": "switching loaded ones",
    }
    for key, name in names.items():
        yield Verdict(f"{name} / copy of its bytes", result["dtype"], ratio(result[key], result["copy"]), 1.5)


def _fit_loop(result: Mapping[str, Any]) -> Iterator[Verdict]:
    yield Verdict("fit / bare loop", f"tiny, {result['steps']} steps", ratio(result["fit"], result["bare"]), 1.05)


def _packing(result: Mapping[str, Any]) -> Iterator[Verdict]:
    case = f"{result['rows']:,} intent rows ({result['source']})"
    yield Verdict("tokenise and pack, cold", case, median(result["cold"]), 3.0, "s")
    yield Verdict("tokenise and pack, cached", case, median(result["cached"]), 0.3, "s")


def _startup(result: Mapping[str, Any]) -> Iterator[Verdict]:
    limits = {"--help": 0.5, "select": 1.0, "score": 1.0}
    for name, seconds in result["commands"].items():
        yield Verdict("start-up to end", f"python -m esft_lightning {name}", median(seconds), limits[name], "s")
