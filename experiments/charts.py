"""What the training experiments draw: bars by task, and clouds of task score against what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.drawing import COLORS, new_figure
from experiments.outcomes import Measure, Outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*"


def bars(outcomes: Outcomes, measure: Measure, labels: Sequence[str], ylabel: str) -> Figure:
    """A group of bars a task, a bar a row; whiskers are deviations over seeds."""
    figure = new_figure(1.9 * len(outcomes.tasks) + 2.6, 3.6)
    axis = figure.subplots()
    width = 0.8 / len(labels)
    for place, label in enumerate(labels):
        spreads = [outcomes.spread(measure, label, task) for task in outcomes.tasks]
        known = [(n, spread) for n, spread in enumerate(spreads) if spread is not None]
        axis.bar(
            [n + (place - (len(labels) - 1) / 2) * width for n, _ in known],
            [spread.mean for _, spread in known],
            width,
            yerr=[spread.deviation or 0.0 for _, spread in known],
            error_kw={"linewidth": 0.8},
            color=COLORS[place % len(COLORS)],
            hatch="" if place < len(COLORS) else "///",
            edgecolor="white",
            linewidth=0,
            label=label,
        )
    axis.set_xticks(range(len(outcomes.tasks)), outcomes.tasks)
    axis.set_ylabel(ylabel)
    axis.grid(axis="y", alpha=0.25)
    axis.set_axisbelow(True)
    if len(labels) > len(COLORS):
        figure.set_figwidth(figure.get_figwidth() + 3)
        figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    else:
        figure.legend(fontsize=8, frameon=False, ncols=min(len(labels), 4), loc="outside upper center")
    return figure


def lines(
    axis: Any,
    points: Mapping[str, Sequence[tuple[float, float]]],
    xlabel: str,
    ylabel: str,
    *,
    logarithmic: bool = False,
) -> None:
    """A line through each label's points, from left to right."""
    for place, (label, values) in enumerate(points.items()):
        ordered = sorted(values)
        axis.plot(
            [x for x, _ in ordered],
            [y for _, y in ordered],
            color=COLORS[place % len(COLORS)],
            marker=MARKERS[place % len(MARKERS)],
            markersize=5,
            linewidth=1.2,
            label=label,
        )
    if logarithmic:
        axis.set_xscale("log", base=2)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.grid(alpha=0.25)
