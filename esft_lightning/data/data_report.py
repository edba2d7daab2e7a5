"""What became of the rows: a short table for every run, and a warning in words where it matters. Knows counts alone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

PARTS = {"train": "training", "val": "validation", "general": "general"}
"""Prefix of a count in a DataModule's `report` → what the rows are for."""
CUT_SHARE, EPOCHS = 0.01, 10
"""More than this share of cut samples, or this many passes over the rows, is warned of."""
_ROWS = (
    ("rows read", "read"),
    ("rows skipped", "skipped"),
    ("rows of other tasks", "rows_left_out"),
    ("rows used", "rows"),
    ("rows without a label", "without_label"),
    ("samples cut", "cut"),
    ("tokens", "tokens"),
    ("labelled tokens", "labelled"),
    ("packed rows", "packed"),
)
_RARE = ("without_label", "rows_left_out")
"""Counts that are shown only where there is something to count."""
_LEFT_OUT = (
    ("left out: not of this task", "train_rows_left_out"),
    ("left out: not of this task, validation", "val_rows_left_out"),
    ("longer than a packed row, skipped", "skipped_long"),
    ("left out: evaluation questions", "contaminated_rows"),
    ("left out: validation rows among training rows", "validation_rows_in_training"),
    ("left out: validation rows among general rows", "validation_rows_in_general"),
)


class DataReport(NamedTuple):
    """A table to print, and sentences that a reader must not miss."""

    table: str
    warnings: list[str]


def training_report(
    counts: Mapping[str, Any], sequence_length: int, on_overflow: str, batch_size: int, trainer: Any = None
) -> DataReport:
    """Report what is trained on.

    Args:
        counts: A DataModule's `report`.
        sequence_length: Tokens of a packed row.
        on_overflow: What becomes of a sample that does not fit into what is left of a packed row.
        batch_size: Packed rows of a batch, all processes together.
        trainer: Tells how long the run is; none, or one that does not train, leaves that out.
    """
    parts = {part: name for part, name in PARTS.items() if counts.get(f"{part}_packed")}
    table = _table(f"Data of {counts['task']} ({counts['source']})", "", *parts.values())
    for label, key in _ROWS:
        values = [counts.get(f"{part}_{key}") for part in parts]
        if any(values) or key not in _RARE:
            table.add_row(label, *("–" if value is None else f"{value:,}" for value in values))
    for label, key in _LEFT_OUT:
        if counts.get(key):
            table.add_row(label, f"{counts[key]:,}")
    packed = sum(counts.get(f"{part}_packed", 0) for part in ("train", "general"))
    epochs = _epochs(packed, batch_size, trainer)
    if epochs is not None:
        table.add_row("epochs", f"{epochs:,.3g}" if epochs < 100 else f"{epochs:,.0f}")
    warnings = []
    cut, samples = (sum(counts.get(f"{part}_{key}", 0) for part in parts) for key in ("cut", "samples"))
    if cut > CUT_SHARE * samples:
        longer = counts.get("long_samples", 0)
        warnings.append(
            f"{cut:,} of {samples:,} samples ({cut / samples:.0%}) lose their beginning at the end of a packed row; "
            + (f"{longer:,} are longer than one: raise sequence_length={sequence_length}" if longer else "")
            + (", or " if longer and on_overflow == "tail" else "")
            + ("set on_overflow=next_row to move them to the next" if on_overflow == "tail" else "")
        )
    if epochs is not None and epochs > EPOCHS:
        warnings.append(
            f"this run reads its {packed:,} packed rows {epochs:,.0f} times; lower trainer.max_steps, or give it more "
            "rows"
        )
    return DataReport(_text(table), warnings)


def test_report(counts: Mapping[str, Any]) -> DataReport:
    """Report what is asked.

    Args:
        counts: A DataModule's `report`.
    """
    rows, cut = counts["test_rows"], counts["cut_questions"]
    table = _table(f"Test data of {counts['task']}", "", "evaluation")
    table.add_row("questions", f"{rows:,}")
    table.add_row("rows skipped", f"{counts.get('test_skipped', 0):,}")
    limit = counts["max_prompt_tokens"]
    table.add_row("longest prompt, tokens", "no limit" if limit is None else f"{limit:,}")
    table.add_row("few-shot examples dropped", f"{counts['dropped_examples']:,}")
    table.add_row("questions cut", f"{cut:,}")
    warnings = []
    if counts["dropped_examples"]:
        warnings.append(
            f"{counts['shortened_prompts']:,} of {rows:,} evaluation prompts exceed {limit:,} tokens: "
            f"{counts['dropped_examples']:,} few-shot examples dropped"
        )
    if cut > CUT_SHARE * rows:
        warnings.append(
            f"{cut:,} of {rows:,} questions ({cut / rows:.0%}) are longer than {limit:,} tokens and lose their "
            "beginning; lower max_new_tokens, or take a model with more positions"
        )
    return DataReport(_text(table), warnings)


def _epochs(packed: int, batch_size: int, trainer: Any) -> float | None:
    """How often a fit reads the packed rows; None where no fit is at hand or nothing bounds it."""
    if getattr(getattr(trainer, "state", None), "fn", None) != "fit" or not packed:
        return None
    batches = math.ceil(packed / batch_size)
    limit = trainer.limit_train_batches
    served = min(batches, limit if isinstance(limit, int) else math.floor(batches * limit))
    steps_an_epoch = math.ceil(served / trainer.accumulate_grad_batches)
    bounds = []
    if trainer.max_steps is not None and trainer.max_steps >= 0:
        bounds.append(trainer.max_steps / max(1, steps_an_epoch))
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        bounds.append(float(trainer.max_epochs))
    return min(bounds) * served / batches if bounds else None


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _text(table: Any) -> str:
    from rich.console import Console

    buffer = io.StringIO()
    Console(file=buffer, width=100).print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
