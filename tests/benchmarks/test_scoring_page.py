"""docs/scoring.md: its tables stand between their marks, hold every form, and say what the tests demand."""

import re
from pathlib import Path

import pytest
from places import ROOT

from benchmarks import code_forms, math_forms
from benchmarks.scoring import TABLES, equal_table, main, replaced

PAGE = ROOT / "docs/scoring.md"


def table(name: str) -> list[list[str]]:
    begin = f"<!-- {name}: python -m benchmarks.scoring -->\n"
    lines = PAGE.read_text(encoding="utf-8").partition(begin)[2].partition("<!-- end -->")[0].splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [[cell.strip().replace(r"\|", "|") for cell in row] for row in rows[2:]]


def test_every_form_of_stating_an_answer_is_right_in_99_of_100() -> None:
    rows = table("math")
    assert [row[0] for row in rows] == [*math_forms.FORMS, *math_forms.NUMBER_FORMS]
    assert all(float(share) >= 99.0 for _, math500, gsm8k, _ in rows for share in (math500, gsm8k))
    assert min(float(row[3]) for row in rows) < 99.0  # the reason why math-verify's own extraction is not used
    assert "0 counted as right that are not in the list" in PAGE.read_text(encoding="utf-8")


def test_every_form_of_a_program_passes_as_the_bare_one_does() -> None:
    rows = table("code")
    assert [row[0] for row in rows] == list(code_forms.FORMS)
    assert {row[1] for row in rows} == {"164"}
    assert len({row[2] for row in rows}) == 1


def test_the_list_of_equal_answers_is_the_one_that_is_checked_in() -> None:
    begin = "<!-- equal: python -m benchmarks.scoring -->\n"
    assert PAGE.read_text(encoding="utf-8").partition(begin)[2].startswith(equal_table())


def test_a_table_takes_the_place_of_the_one_before_it() -> None:
    page = "a\n<!-- math: python -m benchmarks.scoring -->\nold\n<!-- end -->\nb\n"
    assert replaced(page, "math", r"| \frac |") == page.replace("old", r"| \frac |")
    with pytest.raises(ValueError, match="no line"):
        replaced(page, "code", "x")


def test_the_command_writes_the_tables_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "scoring.md"
    page.write_text("".join(f"<!-- {name}: python -m benchmarks.scoring -->\n<!-- end -->\n" for name in TABLES))
    assert main(["--page", str(page), "--data", str(tmp_path), "--only", "equal"]) == 0
    assert equal_table() in page.read_text()
    assert main(["--page", str(page), "--data", str(tmp_path / "none")]) == 2
    assert "give --data" in capsys.readouterr().err
