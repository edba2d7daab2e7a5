"""The comparison's picture: what each strategy gained on the task, what general ability it kept, what it trained."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.summary import Spread, Summary
from esft_lightning.comparison.table import quantity
from esft_lightning.storage import atomic_write

_COLUMNS = 3  # tasks beside one another
_MARKERS = "osD^vPX*h<>"


def draw(rows: Sequence[Summary], path: str | Path) -> Path:
    """Draw a pair of panels a task: general ability over task score, and trained parameters.

    Args:
        rows: As `summarize` makes them.
        path: PNG to write, atomically.

    Returns:
        The file.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(row.task for row in rows))
    names = list(dict.fromkeys(row.name for row in rows if not row.is_base))
    looks = {name: (colormaps["tab10"](n % 10), _MARKERS[n % len(_MARKERS)]) for n, name in enumerate(names)}
    columns = 2 if len(tasks) == 4 else max(1, min(_COLUMNS, len(tasks)))
    lines = -(-max(1, len(tasks)) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 5.6 * lines + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[3, 1.6] * lines)
    for axis in axes.flat:
        axis.set_visible(False)
    for place, task in enumerate(tasks):
        line, column = divmod(place, columns)
        chosen = [row for row in rows if row.task == task]
        _scores(axes[2 * line][column], task, chosen, looks)
        _parameters(axes[2 * line + 1][column], [row for row in chosen if not row.is_base], looks)
    handles = _legend(looks)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 + 2 * columns), frameon=False)
    image = BytesIO()
    figure.savefig(image, format="png", dpi=140)
    atomic_write(path, image.getvalue())
    return Path(path)


def draw_losses(results: Sequence[RunResult], path: str | Path, window: int = 10) -> Path:
    """Draw the training loss of every strategy, a panel a task, the lowest seed of each.

    Args:
        results: Results of any grid; runs that have no losses are left out.
        path: PNG to write, atomically.
        window: Steps of the moving mean.

    Returns:
        The file.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trained = [result for result in results if result.finished and result.losses.get("train")]
    tasks = list(dict.fromkeys(result.spec.task for result in trained))
    names = list(dict.fromkeys(result.spec.name for result in trained))
    columns = min(_COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 3.2 * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    seen = set()
    for result in sorted(trained, key=lambda result: result.spec.seed):
        place = (result.spec.task, result.spec.name)
        if place in seen:
            continue
        seen.add(place)
        losses = result.losses["train"]
        width = min(window, len(losses))
        means = [sum(losses[n - width : n]) / width for n in range(width, len(losses) + 1)]
        axis = axes[tasks.index(result.spec.task)]
        color = colormaps["tab10"](names.index(result.spec.name) % 10)
        label = result.spec.name if result.spec.task == tasks[0] else None
        axis.plot(range(width, len(losses) + 1), means, color=color, linewidth=1.2, label=label)
    for axis, task in zip(axes, tasks, strict=False):
        axis.set(title=task, xlabel="step", ylabel="training loss", yscale="log")
        axis.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=min(len(names), 2 + 2 * columns), frameon=False)
    image = BytesIO()
    figure.savefig(image, format="png", dpi=140)
    atomic_write(path, image.getvalue())
    return Path(path)


def _scores(axis: Any, task: str, rows: Sequence[Summary], looks: dict[str, tuple]) -> None:
    axis.set_visible(True)
    axis.set_title(task)
    axis.set_xlabel("task score")
    axis.set_ylabel("general ability")
    axis.grid(alpha=0.25)
    axis.margins(0.12)
    for row in rows:
        x, y = row.task_score, row.general_score
        if x is None or y is None:
            continue
        if row.is_base:
            axis.axhline(100 * y.mean, color="0.6", linewidth=0.8, linestyle=":")
            axis.axvline(100 * x.mean, color="0.6", linewidth=0.8, linestyle=":")
        color, marker = ("black", "*") if row.is_base else looks[row.name]
        axis.errorbar(
            100 * x.mean, 100 * y.mean, xerr=_bar(x), yerr=_bar(y), color=color, marker=marker, linestyle="none",
            markersize=11 if row.is_base else 9, markeredgecolor="white", capsize=2, zorder=3,
        )  # fmt: skip


def _parameters(axis: Any, rows: Sequence[Summary], looks: dict[str, tuple]) -> None:
    known = [(row.name, row.trained.mean, row.share.mean) for row in rows if row.trained and row.share]
    if not known:
        return
    axis.set_visible(True)
    positions = range(len(known))
    bars = axis.barh(positions, [count for _, count, _ in known], color=[looks[name][0] for name, _, _ in known])
    axis.bar_label(bars, [f"{quantity(count)} ({share:.0%})" for _, count, share in known], padding=3, fontsize=8)
    axis.set_yticks(positions, [name for name, _, _ in known], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.35 * max(count for _, count, _ in known))
    axis.set_xticks([])
    axis.set_xlabel("trained parameters")
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)


def _legend(looks: dict[str, tuple]) -> list[Any]:
    from matplotlib.lines import Line2D

    base = Line2D([], [], color="black", marker="*", linestyle="none", label="base")
    return [
        base,
        *(
            Line2D([], [], color=color, marker=marker, linestyle="none", label=name)
            for name, (color, marker) in looks.items()
        ),
    ]


def _bar(value: Spread) -> float | None:
    return None if value.deviation is None else 100 * value.deviation
