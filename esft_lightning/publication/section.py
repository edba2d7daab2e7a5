"""One section of the results page: text, tables, figures and claims, written into a folder of its own.

The folder holds `section.md`, every table as `NAME.md`, `NAME.tex` and `NAME.csv`, every figure as `NAME.png` and
`NAME.svg`, and `claims.json`. A page is made by putting sections one after another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from esft_lightning.publication.claim import Claim
from esft_lightning.publication.table import ResultTable
from esft_lightning.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SECTION_FILE, CLAIMS_FILE = "section.md", "claims.json"
_DPI = 130


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption.

    Attributes:
        name: Stem of the files.
        drawing: A matplotlib figure.
        caption: What is seen, and of which model.
    """

    name: str
    drawing: Drawing
    caption: str


@dataclass(frozen=True)
class Section:
    """What one experiment has to say.

    Attributes:
        name: The experiment: `main_results`.
        title: Its heading.
        reproduces: What of the paper it stands for: `Table 1`; empty for what goes beyond.
        text: Paragraphs: what was varied and measured, on which model and data.
        command: The command that makes it.
        provenance: Commit, date, hardware and the like, one line.
        tables: Tables.
        figures: Figures.
        claims: Claims with their verdicts.
    """

    name: str
    title: str
    reproduces: str
    text: str
    command: str
    provenance: str
    tables: Sequence[ResultTable] = ()
    figures: Sequence[Figure] = ()
    claims: Sequence[Claim] = field(default_factory=tuple)


def write_section(section: Section, folder: str | Path) -> Path:
    """Write a section and all its files.

    Args:
        section: The section.
        folder: Its own folder; made when it is not there.

    Returns:
        `section.md`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for table in section.tables:
        for ending, content in (("md", table.to_markdown()), ("tex", table.to_latex()), ("csv", table.to_csv())):
            atomic_write(folder / f"{table.name}.{ending}", content.encode())
    for figure in section.figures:
        for ending in ("png", "svg"):
            atomic_write(folder / f"{figure.name}.{ending}", _image(figure.drawing, ending))
    claims = json.dumps([claim.to_dict() for claim in section.claims], indent=1, ensure_ascii=False)
    atomic_write(folder / CLAIMS_FILE, (claims + "\n").encode())
    path = folder / SECTION_FILE
    atomic_write(path, section_markdown(section).encode())
    return path


def section_markdown(section: Section) -> str:
    """The section's text; figures are named relative to its folder."""
    title = f"## {section.title}" + (f" ({section.reproduces})" if section.reproduces else "")
    parts = [title, section.text.strip()]
    parts += [table.to_markdown().strip() for table in section.tables]
    parts += [f"![{figure.caption}]({figure.name}.png)\n\n*{figure.caption}*" for figure in section.figures]
    if section.claims:
        parts.append(claims_table(section.claims).to_markdown().strip())
    parts.append(f"`{section.command}` · {section.provenance}")
    return "\n\n".join(parts) + "\n"


def claims_table(claims: Sequence[Claim]) -> ResultTable:
    """Claims as a table."""
    rows = [
        [
            claim.statement,
            claim.source,
            f"**{claim.verdict}**",
            f"{claim.effect}: {claim.interval if claim.interval is not None else 'not measured'}",
            claim.test,
        ]
        for claim in claims
    ]
    columns = ("claim", "paper", "verdict", "effect [95 % interval]", "test")
    return ResultTable("claims", "claims of the paper, held against these results", columns, rows, words=True)


def _image(drawing: Drawing, ending: str) -> bytes:
    from matplotlib import rc_context

    image = BytesIO()
    # without a date and with fixed ids, an unchanged figure is an unchanged file
    with rc_context({"svg.hashsalt": "esft-lightning"}):
        metadata = {"Date": None} if ending == "svg" else {"Software": None}
        drawing.savefig(image, format=ending, dpi=_DPI, metadata=metadata)
    content = image.getvalue()
    return re.sub(rb"[ \t]+\n", b"\n", content) if ending == "svg" else content
