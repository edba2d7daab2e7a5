"""Sections become one page."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure as Drawing

from esft_lightning.publication import Claim, Figure, Interval, Section, Verdict, write_page, write_section


def _section(name: str, claims: tuple[Claim, ...] = ()) -> Section:
    drawing = Drawing()
    drawing.subplots().plot([1, 2])
    text = "See [the site](https://example.org) and [the table](t.csv)."
    return Section(
        name, name.title(), "Fig. 2", text, f"python -m {name}", "x", (), [Figure("f", drawing, "f")], claims
    )


def test_a_page_holds_every_section_with_its_files_and_all_verdicts(tmp_path: Path) -> None:
    claim = Claim("A beats B", "Table 1", Verdict.UNDECIDED, "A − B", Interval(1, -1, 3, 9), "interval > 0")
    folders = [write_section(_section(n, c), tmp_path / n).parent for n, c in (("one", (claim,)), ("two", ()))]
    page = write_page("Results", "How it was made.", folders, tmp_path / "docs")
    text = page.read_text()
    assert text.startswith("# Results\n\nHow it was made.\n\n- [One (Fig. 2)](#one-fig-2)\n")
    assert text.count("undecided") == 2  # among all claims, and in its section
    assert "](one/f.png)" in text and "](two/t.csv)" in text and "](https://example.org)" in text
    assert (tmp_path / "docs" / "two" / "f.svg").is_file()


def test_a_new_page_leaves_nothing_of_an_old_section(tmp_path: Path) -> None:
    folder = write_section(_section("one"), tmp_path / "one").parent
    (tmp_path / "docs" / "one").mkdir(parents=True)
    (tmp_path / "docs" / "one" / "old.png").write_bytes(b"")
    (tmp_path / "docs" / "notes.md").write_text("mine")
    write_page("Results", "", [folder], tmp_path / "docs")
    assert not (tmp_path / "docs" / "one" / "old.png").exists()
    assert (tmp_path / "docs" / "notes.md").exists()


def test_a_folder_without_a_section_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"three holds no section\.md"):
        write_page("Results", "", [tmp_path / "three"], tmp_path / "docs")
    assert not (tmp_path / "docs").exists()
