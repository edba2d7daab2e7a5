"""How the experiments draw: figures without global state, colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Okabe and Ito's palette, in the order in which lines take it."""


def task_colors(tasks: Sequence[str]) -> dict[str, str]:
    """A colour for every task, the same in every panel of a figure."""
    return dict(zip(tasks, COLORS, strict=False))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(figure: Figure, count: int, columns: int = 3) -> list[Any]:
    """`count` axes in rows of at most `columns`; what is left over of the last row stays empty."""
    columns = min(columns, count)
    axes = figure.subplots(-(-count // columns), columns, squeeze=False).flat
    chosen = list(axes)
    for axis in chosen[count:]:
        axis.set_visible(False)
    return chosen[:count]


def heat(
    axis: Any, values: Any, rows: Sequence[str], columns: Sequence[str], low: float, high: float, *, digits: int = 1
) -> Any:
    """A labelled matrix with its numbers written in; returns the image, for a colour bar."""
    image = axis.imshow(values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    for row, entries in enumerate(values):
        for column, value in enumerate(entries):
            color = "black" if value > low + 0.6 * (high - low) else "white"
            axis.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=color, fontsize=7)
    return image
