"""How many tokens does a selection need? Selections from small samples against an independent full one (Fig. 8).

    python -m experiments.selection_stability [--routing-logs DIR]

The first n tokens of one sample of a task are profiled, for n a power of two; the experts that they choose are compared
with those of the whole other sample, which shares no text with it: the top k by mean gate (of k), and the sets that
ESFT-Token selects at p = 0.2 (Jaccard index). Beside them stands what the first n tokens share with the whole of their
own sample, which counts them twice but needs no second one: of logs, all tokens are one sample.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from esft_lightning.affinity import AffinityProfile, top_expert_overlap
from esft_lightning.publication import Claim, Figure, ResultTable, Section, Verdict, judge_difference, mean_interval
from experiments import routing
from experiments.drawing import COLORS, new_figure
from experiments.experts_per_layer import selection
from experiments.outcomes import NOTHING

NAME = "selection_stability"
STABLE = 5 / 6
"""Share of the top-k experts from which on a selection counts as stable."""


def top_shared(small: AffinityProfile, full: AffinityProfile) -> np.ndarray:
    """Shared top-k experts by mean gate in each layer, [L]."""
    one, other = small.scores("gate"), full.scores("gate")
    return np.array(
        [top_expert_overlap(one[row : row + 1], other[row : row + 1], full.top_k) for row in range(len(one))]
    )


def jaccard(small: AffinityProfile, full: AffinityProfile) -> np.ndarray:
    """Shared experts over all experts of the two ESFT-Token selections (p = 0.2) in each layer, [L]."""
    one, other = (selection(profile, "token", 0.2).experts for profile in (small, full))
    return np.array([len({*one[n]} & {*other[n]}) / len({*one[n]} | {*other[n]}) for n in full.layers])


def curve(measured: routing.Measured) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Tokens → (shared top-k experts, Jaccard index), [tasks, L] each, for every n that all tasks have."""
    full = measured.full(1)
    sizes = set.intersection(*({*profiles} for profiles in measured.halves[0].values()))
    found = {}
    for size in sorted(sizes):
        pairs = [(profiles[size], full[task]) for task, profiles in measured.halves[0].items()]
        found[size] = (np.array([top_shared(*pair) for pair in pairs]), np.array([jaccard(*pair) for pair in pairs]))
    return found


def nested(measured: routing.Measured) -> dict[int, float]:
    """Tokens → top-k experts shared with the whole of the same sample, mean over tasks and layers."""
    sizes = set.intersection(*({*profiles} for profiles in measured.prefixes.values()))
    whole = {task: profiles[max(profiles)] for task, profiles in measured.prefixes.items()}
    return {
        size: float(np.mean([top_shared(profiles[size], whole[task]) for task, profiles in measured.prefixes.items()]))
        for size in sorted(sizes)
    }


def claims_of(measured: Sequence[routing.Measured]) -> list[Claim]:
    """A quarter of the tokens chooses (nearly) the experts that all of them do, and more surely than under a null."""
    claims = []
    for entry in (found for found in measured if not found.is_null):
        points = curve(entry)
        size = max(n for n in points if n <= max(max(points) // 4, min(points)))
        bound = STABLE * entry.top_k
        shared = mean_interval(points[size][0])
        what = f"shared top-{entry.top_k} experts, {size:,} tokens against an independent sample, {entry.model}"
        steady, rule = judge_difference(shared, beyond=bound), f"above {bound:.1f} of {entry.top_k}"
        nulls = [found for found in measured if found.is_null] if entry.kind == routing.TRAINED else []
        for null in nulls:
            more = mean_interval(points[size][0] - curve(null)[size][0])
            verdict = judge_difference(more) if steady == Verdict.HOLDS else steady
            own = f"{shared.mean:.1f} [{shared.low:.1f}, {shared.high:.1f}]"
            test = f"interval over tasks and layers above 0, and its own, {own}, {rule}; null: {null.model}"
            claims.append(Claim("The selection is stable", "Fig. 8", verdict, f"{what} − {null.model}", more, test))
        if not nulls:
            test = f"interval over tasks and layers {rule}; logs have no untrained null"
            claims.append(Claim("The selection is stable", "Fig. 8", steady, what, shared, test))
    return claims


def section_of(measured: Sequence[routing.Measured], command: str) -> Section:
    """Table, curves and claims."""
    rows = []
    figure = new_figure(13.0, 3.8)
    left, right, own = figure.subplots(1, 3)
    for color, entry in zip(COLORS, measured, strict=False):
        points, inner = curve(entry), nested(entry)
        for size, same in inner.items():
            cells = [NOTHING] * 3
            if size in points:
                shared, alike = points[size]
                cells = [f"{shared.mean():.2f}", f"{shared.min():.0f}", f"{alike.mean():.2f}"]
            rows.append([entry.model, f"{size:,}", *cells, f"{same:.2f}"])
        style = "--" if entry.is_null else "-"
        own.plot(list(inner), list(inner.values()), style, color=color, marker="o", markersize=3, label=entry.model)
        for axis, place in ((left, 0), (right, 1)):
            means = [values[place].mean() for values in points.values()]
            axis.plot(list(points), means, style, color=color, marker="o", markersize=3, label=entry.model)
    k = measured[0].top_k
    labels = (f"shared top-{k} experts", "Jaccard index, ESFT-Token p=0.2", f"shared top-{k}, the same sample")
    for axis, label in zip((left, right, own), labels, strict=True):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("tokens of the small sample")
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
    left.legend(fontsize=8, frameon=False)
    columns = ("model", "tokens", f"shared top {k}", "least", "Jaccard, Token p=0.2", f"shared top {k}, same sample")
    caption = (
        "against the whole of an independent sample; mean over tasks and layers, and the least shared anywhere; last "
        "column: against the whole of the sample that the tokens open"
    )
    return Section(
        NAME,
        "How many tokens does a selection need?",
        "Fig. 8",
        "A sample's first n tokens against the whole of another one, which shares no text with it. Any router, "
        "a random one too, gives stable selections once its shares are measured well: stability says that the sample "
        "is large enough, not that something was learned.",
        command,
        routing.provenance(measured),
        [ResultTable(NAME, caption, columns, rows)],
        [Figure(NAME, figure, "Agreement of selections against the number of profiled tokens")],
        claims_of(measured),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the section."""
    return routing.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
