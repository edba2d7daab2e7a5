"""`report.md`: a comparison for people to read, made from results alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from esft_lightning.comparison.figure import draw, draw_losses
from esft_lightning.comparison.result import GENERAL, GENERAL_LOSS, RunResult
from esft_lightning.comparison.rote_scores import rote_note
from esft_lightning.comparison.selection_facts import experts_per_layer, overlap, task_overlaps
from esft_lightning.comparison.summary import GENERAL_AVERAGE, Spread, Summary, summarize
from esft_lightning.comparison.table import caption, markdown_table, number
from esft_lightning.errors import SettingError
from esft_lightning.moe.weight_updates import WeightUpdates, described
from esft_lightning.storage import atomic_write

REPORT_FILE = "report.md"
FIGURE_FILE = "report.png"
LOSSES_FILE = "report_losses.png"


def write_report(results: Sequence[RunResult], output: str | Path, *, command: str = "") -> Path:
    """Write `report.md` and its figure.

    Args:
        results: Results of any grid.
        output: Folder that gets both.
        command: The command that made the runs, for the reader to repeat.

    Returns:
        The report.

    Raises:
        ValueError: If there is no result.
    """
    if not results:
        raise SettingError("no result to report on")
    output = Path(output)
    rows = summarize(results)
    draw(rows, output / FIGURE_FILE)
    parts = [
        "# Strategies compared",
        _setting(results, command),
        f"![Task score, general ability and trained parameters of each strategy]({FIGURE_FILE})",
        f"## Scores and costs\n\n{_sentence(caption(results))} *Task* and *general*: score on the task and general "
        "ability, of the base in its own row, else after training. "
        "*s/step*: median optimizer step. *Peak MB*: resident memory of the run's own process until training ended.",
        *(_task(task, list(group)) for task, group in groupby(rows, key=lambda row: row.task)),
        _losses(results, output),
        _probes(rows),
        _experts(rows, results),
        _failures(results),
        _environment(results),
    ]
    path = output / REPORT_FILE
    atomic_write(path, ("\n\n".join(part for part in parts if part) + "\n").encode())
    return path


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _task(task: str, rows: Sequence[Summary]) -> str:
    """The table of one task, and what rote earns on it."""
    return "\n\n".join(part for part in (f"### {task}", markdown_table(rows), rote_note(rows)) if part)


def _setting(results: Sequence[RunResult], command: str) -> str:
    trained = [result for result in results if not result.spec.is_base]
    bases = sorted({result.spec.base for result in results})
    lines = [f"Base model: {', '.join(f'`{base}`' for base in bases)}."]
    if trained:
        steps = sorted({result.spec.steps for result in trained})
        seeds = sorted({result.spec.seed for result in trained})
        lines.append(
            f"Each strategy trains {_listed(steps)} optimizer steps with seed{'s' if len(seeds) > 1 else ''} "
            f"{_listed(seeds)}, at its own learning rate."
        )
        lines.append(_same_batches([result for result in trained if result.finished]))
        kept: list[WeightUpdates] = [u for u in get_args(WeightUpdates) if any(u == r.weight_updates for r in trained)]
        lines += [f"What trains is kept {described(updates)}." for updates in kept]
    if command:
        lines.append(f"\n\nMade by:\n\n```\n{command}\n```")
    return " ".join(line for line in lines if line).replace(" \n", "\n")


def _same_batches(finished: Sequence[RunResult]) -> str:
    """Whether all strategies saw the same rows in the same order, by the digests that the runs recorded."""
    digests: dict[tuple[str, int, int], set[str]] = {}
    for result in finished:
        digests.setdefault((result.spec.task, result.spec.seed, result.spec.steps), set()).add(result.batches_digest)
    if not digests:
        return ""
    if all(len(found) == 1 for found in digests.values()):
        return "For a task and seed, all strategies saw the same batches in the same order (compared by hash)."
    different = sorted({task for (task, _, _), found in digests.items() if len(found) > 1})
    return f"**Batches differed between strategies on {_listed(different)}**: the runs are not directly comparable."


def _losses(results: Sequence[RunResult], output: Path) -> str:
    """Training loss of every strategy, a panel a task."""
    if not any(result.finished and result.losses.get("train") for result in results):
        return ""
    draw_losses(results, output / LOSSES_FILE)
    return (
        f"## Losses\n\n![Training loss of every strategy]({LOSSES_FILE})\n\nTraining loss, nats per labelled token, "
        "mean of ten steps; the lowest seed of each strategy."
    )


def _probes(rows: Sequence[Summary]) -> str:
    """General ability, probe by probe."""
    probes = list(
        dict.fromkeys(
            name for row in rows for result in row.finished for name in result.after if name.startswith(GENERAL)
        )
    )
    if not probes:
        return ""
    probes.sort(key=lambda name: name == GENERAL_AVERAGE)
    lines = [
        "## General ability, probe by probe\n",
        "| task | strategy | " + " | ".join(name.removeprefix(GENERAL).replace("_", " ") for name in probes) + " |",
        "|---|---|" + "---:|" * len(probes),
    ]
    for row in rows:
        spreads = [Spread.of(result.after.get(name) for result in row.finished) for name in probes]
        scales = [(1, 3) if name == GENERAL_LOSS else (100, 1) for name in probes]  # a loss is in nats per token
        values = [number(spread, *scale) for spread, scale in zip(spreads, scales, strict=True)]
        lines.append(f"| {row.task} | {row.name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _experts(rows: Sequence[Summary], results: Sequence[RunResult]) -> str:
    """How many experts were selected, and how alike selections are."""
    counted = [(row, found) for row in rows if (found := experts_per_layer(row)) is not None]
    if not counted:
        return ""
    lines = ["## Experts selected\n", "| task | strategy | experts per layer | of |", "|---|---|---:|---:|"]
    for row, found in counted:
        total = next((result.affinity.get("num_experts") for result in row.finished if result.affinity), None)
        lines.append(f"| {row.task} | {row.name} | {number(found)} | {total or '–'} |")
    between = [
        f"| {strategy} | {pair.first}, {pair.second} | {pair.shared:.1f} | {pair.chance:.1f} |"
        for strategy in dict.fromkeys(row.name for row, _ in counted)
        for pair in task_overlaps(results, strategy)
    ]
    if between:
        lines += [
            "\nExperts of a layer that two tasks' selections share, beside what random selections of these sizes would "
            "share. Tasks differ in their tokens, so an untrained router also shares less than chance between some "
            "tasks; this table does not show that null.\n",
            "| strategy | tasks | shared | by chance |",
            "|---|---|---:|---:|",
            *between,
        ]
    within = [
        line for task in dict.fromkeys(row.task for row, _ in counted) if (line := _gate_and_token(task, results))
    ]
    if within:
        lines += ["", *within]
    return "\n".join(lines)


def _gate_and_token(task: str, results: Sequence[RunResult]) -> str:
    """How alike the two scores select."""
    found = {
        name: next((r for r in results if r.finished and r.spec.task == task and r.spec.name == name), None)
        for name in ("ESFTGate", "ESFTToken")
    }
    gate, token = found["ESFTGate"], found["ESFTToken"]
    if gate is None or token is None or not (set(gate.selected_experts) & set(token.selected_experts)):
        return ""
    experts = gate.affinity.get("num_experts", 0)
    shared, chance = overlap(gate.selected_experts, token.selected_experts, max(1, experts))
    return f"- {task}: ESFTGate and ESFTToken share {shared:.1f} experts of a layer (by chance {chance:.1f})."


def _failures(results: Sequence[RunResult]) -> str:
    failed = [result for result in results if not result.finished]
    if not failed:
        return ""
    lines = ["## Failed runs\n"]
    lines += [f"- {run.spec.task}, {run.spec.name}, seed {run.spec.seed}: `{run.error}`" for run in failed]
    return "\n".join(lines)


def _environment(results: Sequence[RunResult]) -> str:
    made = [result for result in results if result.finished]
    if not made:
        return ""
    machines = dict.fromkeys(
        f"{r.hardware.get('cpu')}, {r.hardware.get('cores')} cores, {r.hardware.get('threads')} threads, "
        f"on {r.hardware.get('device')}, {r.hardware.get('system')}"
        for r in made
    )
    packages = dict.fromkeys(", ".join(f"{name} {version}" for name, version in r.versions.items()) for r in made)
    commits = dict.fromkeys(r.commit for r in made if r.commit)
    walls = dict.fromkeys(wall for r in made for wall in r.missing_walls)
    minutes = sum(r.seconds.get("total", 0.0) for r in made) / 60
    lines = [
        "## How it was made\n",
        f"{len(made)} finished runs, {minutes:.1f} minutes in all. Every number comes from the runs' `result.json`.\n",
        *(f"- machine: {machine}" for machine in machines),
        *(f"- versions: {package}" for package in packages),
        *(f"- commit: {commit}" for commit in commits),
        *(f"- generated code ran without a wall: {wall}" for wall in walls),
    ]
    return "\n".join(lines)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
