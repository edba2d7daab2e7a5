"""The comparison's table, for the terminal and for Markdown, from the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.table import Table

from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.rote_scores import best_rote
from esft_lightning.comparison.summary import Spread, Summary, summarize
from esft_lightning.publication.bootstrap import Interval

_NOTHING = "–"
COLUMNS = ("strategy", "task", "general", "trained", "share", "adapter MB", "s/step", "peak MB")
CAPTION = "scores 0–100; ± half of the 95 % interval over the rows asked"
ONE_SEED = "one seed: another one gives other numbers, and no verdict rests on one"


def cells(row: Summary) -> list[str]:
    """A row's texts, one for each of `COLUMNS`."""
    name = row.name + (f" ({row.failed} of {len(row.results)} failed)" if row.failed else "")
    return [
        name,
        score(row.task_score, row.task_interval),
        score(row.general_score, row.general_interval),
        _NOTHING if row.trained is None else quantity(row.trained.mean),
        _NOTHING if row.share is None else f"{row.share.mean:.1%}",
        _NOTHING if row.adapter_megabytes is None else f"{row.adapter_megabytes.mean:.2f}",
        _NOTHING if row.step_seconds is None else f"{row.step_seconds.mean:.2f}",
        _NOTHING if row.peak_megabytes is None else f"{row.peak_megabytes.mean:,.0f}",
    ]


def terminal_table(results: Sequence[RunResult]) -> Table:
    """The table as rich prints it, a section for each task; 80 columns hold it, as long as there is one seed.

    Args:
        results: Results of any grid.
    """
    table = Table(caption=caption(results), box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    for position, column in enumerate(COLUMNS):
        heading = column.replace(" ", "\n").replace("/", "/\n")
        table.add_column(heading, justify="right" if position else "left", vertical="bottom")
    for task, group in groupby(summarize(results), key=lambda row: row.task):
        rows = list(group)
        table.add_row(task, style="bold")
        for row in rows:
            table.add_row(*cells(row), style="dim" if row.is_base else "")
        if (best := best_rote(rows)) is not None:
            table.add_row("by rote", f"{100 * best:.1f}", style="dim")
        table.add_section()
    return table


def markdown_table(rows: Sequence[Summary]) -> str:
    """The rows of one task as a Markdown table."""
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join("---" if position == 0 else "---:" for position in range(len(COLUMNS))) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
    ]
    return "\n".join(lines)


def caption(results: Sequence[RunResult]) -> str:
    """What the scores are, and over what their intervals go."""
    seeds = {result.spec.seed for result in results if not result.spec.is_base}
    return f"{CAPTION} and over seeds" if len(seeds) > 1 else f"{CAPTION}; {ONE_SEED}"


def score(value: Spread | None, interval: Interval | None) -> str:
    """A score in points with half of its interval, or a dash."""
    if value is None or interval is None:
        return number(value, 100, 1)
    return f"{100 * value.mean:.1f} ± {50 * (interval.high - interval.low):.1f}"


def number(value: Spread | None, factor: float = 1.0, digits: int = 1) -> str:
    """A mean with its deviation, or a dash."""
    if value is None:
        return _NOTHING
    text = f"{value.mean * factor:.{digits}f}"
    return text if value.deviation is None else f"{text} ± {value.deviation * factor:.{digits}f}"


def quantity(count: float) -> str:
    """A number of parameters in three digits: `5.51M`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
