"""How an experiment ends: its section is written, its tables and verdicts go to the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from esft_lightning.publication import Section, write_section


def show_section(section: Section, folder: Path, console: Console) -> Path:
    """Write a section and say what is in it.

    Args:
        section: The section.
        folder: Its own folder.
        console: Where tables and verdicts are printed.

    Returns:
        `section.md`.
    """
    path = write_section(section, folder)
    for table in section.tables:
        console.print(table.to_rich())
    for claim in section.claims:
        console.print(
            f"{claim.statement}: [bold]{claim.verdict}[/] ({claim.effect}: {claim.interval})", highlight=False
        )
    console.print(str(path), soft_wrap=True)
    return path
