"""The rule by which the shape of the embedded base is chosen, and the table of all candidates. Runs nothing.

The rule, written before any run

1. Eligible are candidates that take at most :data:`SLOWEST` times (to one decimal) the seconds a token of the first
   candidate, today's shape, on the same rows, and whose folder has at most :data:`LARGEST` bytes.
2. Of the eligible ones the shape is chosen whose held-out in-context score lies highest above its rote baseline
   (:mod:`esft_lightning.evaluation.in_context`: copying, lookup, filling in and format by example, from pools that
   pretraining never reads), as the mean over its seeds; the two best after one seed have two.
3. Where the interval of the difference of those two includes zero (bootstrap over probe rows, 95 %), they are tied, and
   the one is chosen whose routing goes further beyond its nulls: own share of the gates on a task's experts less the
   highest of nineteen draws of its routers (``experiments.routing_nulls``).

No fine-tuning result enters.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from esft_lightning.embedded.tiny_model import Shape
from esft_lightning.errors import UserError

__all__ = ["CANDIDATES", "HOURS", "LARGEST", "SLOWEST", "Choice", "Outcome", "best_two", "choose", "eligible", "table"]

CANDIDATES: dict[str, Shape] = {
    "4 x 64 x 48": Shape(),
    "8 x 64 x 32, hidden 96": Shape(layers=8, expert_width=32, hidden=96),
    "8 x 64 x 24": Shape(layers=8, expert_width=24),
    "12 x 64 x 16": Shape(layers=12, expert_width=16),
    "8 x 64 x 24, 8 heads": Shape(layers=8, expert_width=24, heads=8),
}
"""Name → shape; today's first. MoE layers x routed experts x width of an expert."""
HOURS = 1.6
"""Processor-hours of a run."""
SLOWEST = 1.6
"""Most seconds a token that a shape may take, as a multiple of the first candidate's, to one decimal."""
LARGEST = 15_000_000
"""Most bytes of the model's folder, weights in bf16."""
_DRAWS = 2000


@dataclass(frozen=True)
class Outcome:
    """What one run of a shape ended with.

    Attributes:
        shape: A key of `CANDIDATES`.
        seed: Seed of the run.
        tokens: Tokens read.
        processor_hours: Processor time of the loop.
        parameters: Of the model.
        bytes: Weights, configuration and tokenizer.
        gain: In-context score less baseline, points.
        scores: Probe → right answers, per cent.
        baselines: Probe → what rote gets, per cent.
        rows: Probe → whether each row was right.
        own_share: Own share of the gates less the highest of nineteen draws of the routers.
        loss: Mean held-out loss over the domains, nats a token.
    """

    shape: str
    seed: int
    tokens: int
    processor_hours: float
    parameters: int
    bytes: int
    gain: float
    scores: dict[str, float]
    baselines: dict[str, float]
    rows: dict[str, list[bool]]
    own_share: float
    loss: float


@dataclass(frozen=True)
class Choice:
    """What the rule chose, and why.

    Attributes:
        shape: The chosen shape.
        reason: One sentence.
    """

    shape: str
    reason: str


def eligible(speeds: Mapping[str, float], sizes: Mapping[str, int]) -> list[str]:
    """The shapes that part 1 of the rule admits.

    Args:
        speeds: Shape → tokens a processor-second; today's shape first.
        sizes: Shape → bytes of its folder.
    """
    today = next(iter(speeds.values()))
    return [shape for shape in sizes if round(today / speeds[shape], 1) <= SLOWEST and sizes[shape] <= LARGEST]


def best_two(outcomes: Sequence[Outcome], admitted: Sequence[str]) -> list[str]:
    """The two best eligible shapes after their first seed, the better one first."""
    firsts = {entry.shape: entry.gain for entry in outcomes if entry.seed == 0 and entry.shape in admitted}
    return sorted(firsts, key=lambda shape: -firsts[shape])[:2]


def choose(outcomes: Sequence[Outcome], admitted: Sequence[str]) -> Choice:
    """Apply parts 2 and 3 of the rule.

    Raises:
        UserError: No admitted shape has an outcome.
    """
    two = best_two(outcomes, admitted)
    if not two:
        raise UserError("base_shapes: no eligible shape has been run; run the candidates first")
    if len(two) == 1:
        return Choice(two[0], "the only eligible shape")
    first, second = sorted(two, key=lambda shape: -_mean_gain(outcomes, shape))
    low, high = _difference(outcomes, first, second)
    difference = _mean_gain(outcomes, first) - _mean_gain(outcomes, second)
    said = f"{difference:.1f} points more than {second} (interval {low:.1f} to {high:.1f})"
    if low > 0 or high < 0:
        return Choice(first, f"in-context score less baseline, {said}")
    beyond = {shape: statistics.mean(e.own_share for e in outcomes if e.shape == shape) for shape in two}
    chosen = max(two, key=lambda shape: beyond[shape])
    routing = ", ".join(f"{shape} {100 * value:+.1f} points" for shape, value in beyond.items())
    return Choice(chosen, f"tied in context ({first}: {said}); own share beyond redrawn routers: {routing}")


def _mean_gain(outcomes: Sequence[Outcome], shape: str) -> float:
    return statistics.mean(entry.gain for entry in outcomes if entry.shape == shape)


def _difference(outcomes: Sequence[Outcome], first: str, second: str) -> tuple[float, float]:
    """95 % interval of the difference in mean score; probe rows are drawn, the same ones for both shapes."""
    generator = np.random.default_rng(0)
    of = {shape: [entry for entry in outcomes if entry.shape == shape] for shape in (first, second)}
    drawn = np.zeros(_DRAWS)
    for probe in of[first][0].rows:
        right = {
            shape: np.mean([np.array(entry.rows[probe], dtype=float) for entry in entries], axis=0)
            for shape, entries in of.items()
        }
        paired = right[first] - right[second]
        drawn += 100 * paired[generator.integers(0, len(paired), (_DRAWS, len(paired)))].mean(1)
    low, high = np.quantile(drawn / len(of[first][0].rows), (0.025, 0.975))
    # a baseline is the rows', and the same for both shapes
    return float(low), float(high)


def table(outcomes: Sequence[Outcome], speeds: Mapping[str, float]) -> str:
    """All shapes, losers included, and the choice."""
    admitted = eligible(speeds, {entry.shape: entry.bytes for entry in outcomes})
    probes = list(outcomes[0].scores)
    lines = [
        "| shape | seed | parameters | MB | tokens/s of a processor | tokens | eligible | above baseline | "
        + " | ".join(f"{probe} ({outcomes[0].baselines[probe]:.0f})" for probe in probes)
        + " | own share beyond routers redrawn | held-out loss |",
        "|---|" + "---:|" * 5 + "---|" + "---:|" * (len(probes) + 3),
    ]
    for entry in outcomes:
        lines.append(
            f"| {entry.shape} | {entry.seed} | {entry.parameters:,} | {entry.bytes / 1e6:.1f} | "
            f"{speeds[entry.shape]:,.0f} | {entry.tokens:,} | {'yes' if entry.shape in admitted else 'no'} | "
            f"{entry.gain:.1f} | "
            + " | ".join(f"{entry.scores[probe]:.1f}" for probe in probes)
            + f" | {100 * entry.own_share:+.1f} | {entry.loss:.3f} |"
        )
    choice = choose(outcomes, admitted)
    return "\n".join([*lines, "", f"Chosen: {choice.shape}; {choice.reason}.", ""])
