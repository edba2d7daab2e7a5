"""`docs/benchmarks.md` from the results: targets first, then a table for each benchmark. Knows numbers and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pieces import PIECES
from benchmarks.targets import ESFT, FLOOR, FROZEN, FULL, Results, Verdict, by_label, verdicts
from benchmarks.timing import median, quartiles, ratio
from esft_lightning.publication import ResultTable
from esft_lightning.storage import atomic_write

_INTRODUCTION = """\
# Benchmarks

    make bench                                    # everything, then this page; nothing else should be at work
    python -m benchmarks --only steps-olmoe       # a part of it; the page takes what has been measured
    python -m benchmarks --restore docs/benchmarks.json --publish-only   # this page from its archived results

Contenders train the same model on the same batch with the same loss and the same fused AdamW, a step each in turn,
every one in a process of its own with threads bound to cores, after warm-up steps. Ratios are medians over rounds of
one contender's seconds over another's in the same round.

**ESFT** stands for `ESFTGate`, `ESFTToken` and `RandomExperts`, which differ only in what is selected; here the experts
that the batch uses most. **Full fine-tuning** is the stock grouped matmul with everything trained; the **gradient
mask** trains the fused tensors and zeroes the gradients of experts that are not selected; **LoRA on routed experts** is
peft's `target_parameters`; the **per-expert loop** is a `ModuleList` with the other experts frozen, as the original
works.

The **floor** is the least work that the selection takes: forward and backward with every weight frozen (activation
gradients only, stock grouped matmuls), and the weight gradients and optimizer update of the selected experts alone,
from rows that lie ready and sorted. Gradients need not reach below the first layer that trains; the *floor from the
first trained layer* leaves that part out, too.
"""


def write_page(results: Results, path: Path) -> None:
    """Write the page.

    Args:
        results: Piece → its result, with `made_by`.
        path: The Markdown file.

    Raises:
        ValueError: If there is no result.
    """
    if not results:
        raise ValueError("no benchmark has been measured yet; run python -m benchmarks")
    order = {piece.name: number for number, piece in enumerate(PIECES)}
    results = {name: results[name] for name in sorted(results, key=lambda name: order.get(name, len(order)))}
    parts = [_INTRODUCTION, _provenance(results), "## Targets\n", _targets(verdicts(results)).to_markdown()]
    for heading, prefix, tables in _SECTIONS:
        found = {piece: result for piece, result in results.items() if piece.partition("-")[0] == prefix}
        if found:
            parts += [f"## {heading}\n", *(table.to_markdown() for table in tables(found))]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, ("\n".join(parts).rstrip() + "\n").encode())


def _provenance(results: Results) -> str:
    made = [result["made_by"] for result in results.values()]
    machines = sorted({f"{entry['hardware']['cpu']}, {entry['hardware']['threads']} threads" for entry in made})
    commits = sorted({str(entry["commit"]) for entry in made})
    versions = sorted({", ".join(f"{name} {v}" for name, v in entry["versions"].items()) for entry in made})
    days = sorted(entry["made"] for entry in made)
    lines = [
        f"Machine: {'; '.join(machines)}. Commit: {', '.join(commits)}. Measured {days[0]} to {days[-1]}.",
        f"Versions: {'; '.join(versions)}.",
    ]
    if any(entry["quick"] for entry in made):
        lines.append("\n**Made with `--quick`: sizes are too small for these timings to mean anything.**")
    return "\n".join(lines) + "\n"


def _targets(found: Sequence[Verdict]) -> ResultTable:
    rows, groups, last = [], {}, ""
    for verdict in sorted(found, key=lambda entry: [v.target for v in found].index(entry.target)):
        if verdict.target != last:
            groups[len(rows)] = last = verdict.target
        met = "met" if verdict.met else "**not met**"
        floor = "" if verdict.floor is None else _figure(verdict.floor, verdict.unit)
        limit = f"≤ {verdict.limit:.2f} {verdict.unit}"
        rows.append([verdict.case, _figure(verdict.measured, verdict.unit), limit, met, floor])
    missed = [verdict for verdict in found if not verdict.met]
    below = sum(verdict.floor is not None and verdict.floor > verdict.limit for verdict in missed)
    caption = (
        f"{len(found) - len(missed)} of {len(found)} cases are within their target. Last column: what the floor from "
        "the first trained layer reaches in ESFT's place (over what people use instead: by way of ESFT, which is in "
        f"both line-ups); in {below} of the {len(missed)} missed cases the target lies below it"
    )
    return ResultTable("targets", caption, ("case", "measured", "target", "", "the floor's"), rows, groups)


def _steps_tables(results: Results) -> list[ResultTable]:
    return [_contenders_table(piece, result) for piece, result in results.items()]


def _contenders_table(piece: str, result: Mapping[str, Any]) -> ResultTable:
    found = by_label(result)
    rows = []
    for label, one in found.items():
        low, middle, high = quartiles(one["seconds"])
        ratios = [
            f"{ratio(one['seconds'], found[other]['seconds']):.2f}" if other in found else "–"
            for other in (FULL, FLOOR)
        ]
        rows.append(
            [
                label,
                f"{middle:.3f} ({low:.3f}–{high:.3f})",
                f"{result['tokens'] / middle:,.0f}",
                *ratios,
                _megabytes(one["peak_bytes"]),
                _megabytes(one["gradient_bytes"]),
                _megabytes(one["optimizer_bytes"]),
                _megabytes(one["saved_bytes"]),
                _megabytes(one["checkpoint_bytes"]),
            ]
        )
    columns = (
        "contender", "s/step (quartiles)", "tokens/s", "× full", "× floor", "peak above weights", "gradients",
        "optimizer", "saved activations", "stored",
    )  # fmt: skip
    return ResultTable(piece.replace("-", "_"), _shape_caption(result, found), columns, rows)


def _shape_caption(result: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    shape = result["shape"]
    what = f"{shape['name']}, {result['dtype']}: {result['parameters'] / 1e6:,.0f}M parameters"
    if shape["name"] != "tiny":
        what += (
            f" ({shape['layers']} layers, hidden {shape['hidden']}, {shape['experts']} experts of "
            f"{shape['intermediate']}, top {shape['top_k']})"
        )
    selected = found[ESFT]["selected"] if ESFT in found else None
    chosen = ""
    if selected is not None:
        share = result["selected_rows"][str(selected)]
        chosen = f", {selected} experts a layer selected, which compute {share:.0%} of the rows"
    steps = len(next(iter(found.values()))["seconds"])
    return f"{what}; {result['tokens']:,} tokens a step{chosen}; {steps} steps of each; memory in MB"


def _breakdown_tables(results: Results) -> list[ResultTable]:
    tables = []
    for piece, result in results.items():
        found = result["contenders"]
        totals = {label: sum(one["seconds"].values()) for label, one in found.items()}
        rows = []
        for kind in found[ESFT]["seconds"]:
            times = {label: one["seconds"][kind] for label, one in found.items()}
            rows.append([kind, *(f"{time * 1e3:,.1f} ({time / totals[label]:.0%})" for label, time in times.items())])
        rows.append(["together", *(f"{total * 1e3:,.1f}" for total in totals.values())])
        rows.append(["products, 10⁹ operations", *(f"{one['flops'] / 1e9:,.2f}" for one in found.values())])
        caption = (
            f"{result['shape']}, {result['dtype']}: milliseconds of a step (share), each operator without those that "
            f"it calls; medians of {result['steps']} steps under torch's profiler, which slows small operators"
        )
        if result["shape"] == "deepseek":  # keys wider than values: no attention kernel of the CPU takes them
            caption += "; attention, in plain products of matrices here, counts among the other products"
        tables.append(ResultTable(piece.replace("-", "_"), caption, ("what", *found), rows))
    return tables


def _experts_tables(results: Results) -> list[ResultTable]:
    tables = []
    for piece, result in results.items():
        rows = []
        for size, measured in result["sizes"].items():
            found = by_label(measured)
            frozen = found[FROZEN]["seconds"]
            others = [label for label in found if label != FROZEN]
            rows.append(
                [size, f"{median(frozen):.3f}", *(f"{ratio(found[label]['seconds'], frozen):.3f}" for label in others)]
            )
        labels = [label for label in by_label(next(iter(result["sizes"].values()))) if label != FROZEN]
        dtype = next(iter(result["sizes"].values()))["dtype"]
        caption = (
            f"{dtype}, constant tokens, top-k and expert size; columns but the first two: step over the frozen model's"
        )
        columns = ("experts", "frozen model, s", *(f"{label} ÷ frozen" for label in labels))
        tables.append(ResultTable(piece.replace("-", "_"), caption, columns, rows))
    return tables


def _share_tables(results: Results) -> list[ResultTable]:
    tables = []
    for piece, result in results.items():
        found = by_label(result)
        rows = []
        for label, one in found.items():
            kind, _, share = label.partition(", ")
            if kind == ESFT:
                floor, full = found[f"{FLOOR}, {share}"]["seconds"], found[FULL]["seconds"]
                rows.append(
                    [
                        share,
                        f"{result['selected_rows'][str(one['selected'])]:.0%}",
                        f"{median(one['seconds']):.3f}",
                        f"{ratio(one['seconds'], full):.2f}",
                        f"{ratio(one['seconds'], floor):.3f}",
                        _megabytes(one["peak_bytes"]),
                        _megabytes(one["saved_bytes"]),
                        _megabytes(one["checkpoint_bytes"]),
                    ]
                )
        columns = (
            "experts selected", "rows they compute", "s/step", "× full", "× floor of that share", "peak above weights",
            "saved activations", "stored",
        )  # fmt: skip
        tables.append(ResultTable(piece.replace("-", "_"), _shape_caption(result, found), columns, rows))
    return tables


def _other_tables(results: Results) -> list[ResultTable]:
    """Any result whose seconds are lists by name: a row each."""
    rows = []
    for piece, result in results.items():
        series = result.get("commands", result)
        for name, seconds in series.items():
            if isinstance(seconds, list) and seconds:
                low, middle, high = quartiles(seconds)
                rows.append([piece, name, f"{middle:.4f}", f"{low:.4f}–{high:.4f}", str(len(seconds))])
    notes = "; ".join(f"{piece}: {note}" for piece, result in results.items() if (note := _note(result)))
    columns = ("piece", "what", "s, median", "quartiles", "runs")
    return [ResultTable(next(iter(results)).replace("-", "_"), notes or "seconds", columns, rows)]


def _note(result: Mapping[str, Any]) -> str:
    facts = {
        key: value for key, value in result.items() if isinstance(value, int | str) and not isinstance(value, bool)
    }
    return ", ".join(f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in facts.items())


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def _figure(value: float, unit: str) -> str:
    return f"{value:.3f} {unit}"


_SECTIONS = (
    ("A step", "steps", _steps_tables),
    ("What people use instead", "alternatives", _steps_tables),
    ("Where a step's time goes", "breakdown", _breakdown_tables),
    ("Number of experts", "experts_sweep", _experts_tables),
    ("Share of experts selected", "share_sweep", _share_tables),
    ("Profiling", "profiling", _other_tables),
    ("Adapters", "adapters", _other_tables),
    ("The whole `fit` loop", "fit_loop", _other_tables),
    ("Tokenise and pack", "packing", _other_tables),
    ("Start-up", "startup", _other_tables),
)
