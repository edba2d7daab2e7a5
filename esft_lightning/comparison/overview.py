"""What TensorBoard shows of a comparison as a whole: charts side by side, the table, settings, overlap of selections.

Written as one more run, `overview`, below the comparison's root, from results alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from esft_lightning.comparison.hparams import write_experiment
from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.selection_facts import overlap
from esft_lightning.comparison.summary import summarize
from esft_lightning.comparison.table import CAPTION, markdown_table

FOLDER = "overview"
LAYOUT: dict[str, dict[str, list[Any]]] = {
    "Learning": {
        "training loss": ["Multiline", ["train/loss"]],
        "validation loss": ["Multiline", ["val/loss"]],
        "validation token accuracy": ["Multiline", ["val/token_accuracy"]],
    },
    "Outcome": {
        "task score": ["Multiline", ["final/task_score"]],
        "general ability": ["Multiline", ["final/general_average"]],
    },
    "Routing": {
        "entropy": ["Multiline", ["routing/entropy$"]],
        "drift from the base": ["Multiline", ["routing/drift"]],
        "share of trained experts": ["Multiline", ["routing/trained_share"]],
    },
    "Cost": {
        "seconds per step": ["Multiline", ["final/seconds_per_step"]],
        "peak memory, MB": ["Multiline", ["final/peak_memory_megabytes"]],
        "adapter, MB": ["Multiline", ["final/adapter_megabytes"]],
    },
}
"""Custom scalars: category → chart → its tags, as regular expressions."""


def write_overview(results: Sequence[RunResult], output: str | Path) -> Path:
    """Write the overview's events; an older overview is replaced.

    Args:
        results: Results of any grid.
        output: The comparison's root.

    Returns:
        The folder of the events.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = Path(output) / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_custom_scalars(LAYOUT)
        write_experiment(writer._get_file_writer(), results)
        for task, rows in groupby(summarize(results), key=lambda row: row.task):
            writer.add_text(f"results/{task}", f"{CAPTION}\n\n{markdown_table(list(rows))}")
        for name in dict.fromkeys(run.spec.name for run in results if run.finished and run.selected_experts):
            figure = overlap_figure(results, name)
            if figure is not None:
                writer.add_figure(f"overlap/{name}", figure)
    return folder


def overlap_figure(results: Sequence[RunResult], strategy: str) -> Any:
    """Shared experts of a layer between the tasks' selections of one strategy, as a matrix; the lowest seed of each.

    Args:
        results: Results of any grid.
        strategy: The strategy's name.

    Returns:
        A matplotlib figure; None with fewer than two tasks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen: dict[str, RunResult] = {}
    for run in sorted(results, key=lambda run: run.spec.seed):
        if run.finished and run.selected_experts and run.spec.name == strategy:
            chosen.setdefault(run.spec.task, run)
    if len(chosen) < 2:
        return None
    tasks = list(chosen)
    values = np.zeros((len(tasks), len(tasks)))
    for row, one in enumerate(tasks):
        for column, other in enumerate(tasks):
            experts = max(1, chosen[one].affinity.get("num_experts", 1))
            pair = chosen[one].selected_experts, chosen[other].selected_experts
            values[row, column] = overlap(*pair, experts)[0] if set(pair[0]) & set(pair[1]) else np.nan
    figure = Figure(figsize=(1.6 + 0.9 * len(tasks), 1.2 + 0.8 * len(tasks)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    image = axis.imshow(values, vmin=0, cmap="viridis")
    axis.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
    axis.set_yticks(range(len(tasks)), tasks)
    axis.set_title(strategy)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "black" if value > 0.6 * np.nanmax(values) else "white"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=color)
    figure.colorbar(image, ax=axis, shrink=0.8, label="experts of a layer in common")
    return figure
