"""A table of results, written as Markdown, LaTeX (booktabs), CSV and for the terminal, all from the same cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "≥": r"$\ge$",
    "≤": r"$\le$", "×": r"$\times$", "→": r"$\to$", "≈": r"$\approx$",
}  # fmt: skip


@dataclass(frozen=True)
class ResultTable:
    """Cells under headings.

    Attributes:
        name: Stem of the files: lower-case words joined by `_`.
        caption: What the numbers are, their unit and what ± means.
        columns: Headings; the first column names the row.
        rows: Cells as text, as many a row as there are columns.
        groups: Row number → a heading above that row.
        words: The cells are words, not numbers: every column stands left.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: dict[int, str] = field(default_factory=dict)
    words: bool = False

    def __post_init__(self) -> None:
        """Check the shape.

        Raises:
            ValueError: A name that is no file stem, or a row with too many or too few cells.
        """
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"table name {self.name!r}: expected lower-case letters, digits and _")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name}: row {number} has {len(row)} cells for {len(self.columns)} columns"
                )

    def to_markdown(self) -> str:
        """As a Markdown table; the caption stands below it."""
        lines = [
            _line(self.columns),
            "|" + "|".join(["---", *["---" if self.words else "---:"] * (len(self.columns) - 1)]) + "|",
        ]
        for number, row in enumerate(self.rows):
            if number in self.groups:
                lines.append(_line([f"**{self.groups[number]}**", *[""] * (len(self.columns) - 1)]))
            lines.append(_line(row))
        return "\n".join([*lines, "", f"*{self.caption}*", ""])

    def to_latex(self) -> str:
        """As a LaTeX table; needs the package booktabs."""
        width = len(self.columns)
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{l{('l' if self.words else 'r') * (width - 1)}}}",
            r"\toprule",
            _latex_line(self.columns),
            r"\midrule",
        ]
        for number, row in enumerate(self.rows):
            if number in self.groups:
                if number:
                    lines.append(r"\midrule")
                lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{latex_text(self.groups[number])}}}}} \\")
            lines.append(_latex_line(row))
        lines += [
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{latex_text(self.caption)}}}",
            rf"\label{{tab:{self.name.replace('_', '-')}}}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """As CSV; where there are groups, a first column `group` names each row's."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*(["group"] if self.groups else []), *self.columns])
        group = ""
        for number, row in enumerate(self.rows):
            group = self.groups.get(number, group)
            writer.writerow([*([group] if self.groups else []), *row])
        return text.getvalue()

    def to_rich(self) -> Table:
        """For the terminal."""
        from rich import box
        from rich.table import Table

        table = Table(caption=self.caption, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for position, column in enumerate(self.columns):
            table.add_column(
                column,
                justify="right" if position and not self.words else "left",
                vertical="bottom",
                no_wrap=not position,
            )
        for number, row in enumerate(self.rows):
            if number in self.groups:
                table.add_section()
                table.add_row(self.groups[number], style="bold")
            table.add_row(*row)
        return table


def latex_text(text: str) -> str:
    """`text` with what LaTeX would take for a command written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(latex_text(cell) for cell in cells) + r" \\"
