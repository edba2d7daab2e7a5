"""How many experts does ESFT train in each layer? (the paper's Fig. 4, and the p axis of Fig. 6), from routing alone.

    python -m experiments.experts_per_layer [--routing-logs DIR]

For every task: the experts that ESFT-Gate (p = 0.1) and ESFT-Token (p = 0.2) select in each layer, how that number
grows with p, and how many layers' selections change when scores are averaged over samples, as the equations say, in
place of tokens, as the released files do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from esft_lightning.affinity import AffinityProfile, ExpertSelection, select_top_p
from esft_lightning.publication import Figure, ResultTable, Section
from experiments import routing
from experiments.drawing import heat, new_figure, panels, task_colors

NAME = "experts_per_layer"
METHODS = (("ESFT-Gate", "gate", 0.1), ("ESFT-Token", "token", 0.2))
SWEEP = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def selection(profile: AffinityProfile, score: str, p: float, average: str = "token") -> ExpertSelection:
    """The experts that ESFT selects from a profile."""
    return select_top_p(profile.scores(score, average), profile.layers, p)


def counts(profile: AffinityProfile, score: str, p: float) -> np.ndarray:
    """Selected experts of each layer, [L]."""
    chosen = selection(profile, score, p).experts
    return np.array([len(chosen[layer]) for layer in profile.layers])


def changed_by_averaging(profile: AffinityProfile, score: str, p: float) -> int:
    """Layers whose selected set differs between token- and sample-averaged scores."""
    tokens, samples = (selection(profile, score, p, average).experts for average in ("token", "sample"))
    return sum(set(tokens[layer]) != set(samples[layer]) for layer in profile.layers)


def _numbers(measured: Sequence[routing.Measured]) -> ResultTable:
    rows: list[list[str]] = []
    groups: dict[int, str] = {}
    for entry in measured:
        groups[len(rows)] = entry.model
        for task, profile in entry.whole().items():
            row = [task]
            for _, score, p in METHODS:
                found = counts(profile, score, p)
                row += [f"{found.mean():.2f} ({found.min()}–{found.max()})"]
                row += [f"{changed_by_averaging(profile, score, p)} of {len(found)}"]
            rows.append(row)
    columns = ["task"]
    for name, _, p in METHODS:
        columns += [f"{name} p={p}", "changed by sample averaging"]
    return ResultTable(
        NAME,
        "selected experts of a layer: mean (least–most) over layers; layers whose selection changes when scores are "
        "averaged over samples first",
        columns,
        rows,
        groups,
    )


def _sweep(measured: Sequence[routing.Measured]) -> ResultTable:
    rows: list[list[str]] = []
    groups: dict[int, str] = {}
    for entry in measured:
        for name, score, _ in METHODS:
            groups[len(rows)] = f"{entry.model}, {name}"
            for task, profile in entry.whole().items():
                rows.append([task, *(f"{counts(profile, score, p).mean():.1f}" for p in SWEEP)])
    columns = ["task", *(f"p={p}" for p in SWEEP)]
    caption = (
        "mean number of selected experts of a layer; raw scores, so that a gate threshold beyond the layer's gate "
    )
    return ResultTable(f"{NAME}_by_threshold", caption + "mass selects all experts", columns, rows, groups)


def _layers(measured: Sequence[routing.Measured]) -> Figure:
    figure = new_figure(4.6 * len(METHODS), 2.4 * len(measured))
    axes = figure.subplots(len(measured), len(METHODS), squeeze=False)
    for line, entry in zip(axes, measured, strict=True):
        profiles = entry.whole()
        found = {score: np.array([counts(q, score, p) for q in profiles.values()]) for _, score, p in METHODS}
        most = max(values.max() for values in found.values())
        for axis, (name, score, p) in zip(line, METHODS, strict=True):
            values = found[score]
            layers = [str(layer) for layer in next(iter(profiles.values())).layers]
            image = axis.imshow(values, cmap="viridis", aspect="auto", vmin=0, vmax=most)
            if len(layers) <= 8:
                heat(axis, values, list(profiles), layers, 0, most, digits=0)
            else:
                axis.set_xticks(range(0, len(layers), 5), layers[::5], fontsize=8)
            axis.set_yticks(range(len(profiles)), list(profiles), fontsize=8)
            axis.set_xlabel("layer", fontsize=8)
            axis.set_title(f"{name} p={p}: {entry.model}", fontsize=9)
            figure.colorbar(image, ax=axis)
    return Figure(NAME, figure, f"Selected experts of every layer: {', '.join(e.model for e in measured)}")


def _curves(measured: Sequence[routing.Measured]) -> Figure:
    figure = new_figure(4.2 * min(len(measured), 4), 4.4)
    colors = task_colors(measured[0].tasks)
    for axis, entry in zip(panels(figure, len(measured), 4), measured, strict=True):
        for task, profile in entry.whole().items():
            for style, (name, score, _) in zip(("-", "--"), METHODS, strict=True):
                line = [counts(profile, score, p).mean() for p in SWEEP]
                axis.plot(SWEEP, line, style, color=colors.get(task), label=f"{task}, {name}", linewidth=1.2)
        axis.set_xlabel("p")
        axis.set_title(entry.model, fontsize=10)
    figure.axes[0].set_ylabel("selected experts of a layer")
    entries = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(
        entries.values(), entries, fontsize=7, frameon=False, ncols=len(entries) // 2, loc="outside lower center"
    )
    return Figure(f"{NAME}_by_threshold", figure, "Selected experts against the threshold p")


def section_of(measured: Sequence[routing.Measured], command: str) -> Section:
    """Two tables and two figures."""
    return Section(
        NAME,
        "How many experts are trained in each layer?",
        "Fig. 4, p axis of Fig. 6",
        "Selections from all profiled tokens of a task, by the rule of the paper's equation 8 on unrounded scores.",
        command,
        routing.provenance(measured),
        [_numbers(measured), _sweep(measured)],
        [_layers(measured), _curves(measured)],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the section."""
    return routing.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
