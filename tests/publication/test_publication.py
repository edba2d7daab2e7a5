"""Tables in all their forms, intervals, verdicts and sections."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from esft_lightning.publication import (
    Claim,
    Figure,
    Interval,
    ResultTable,
    Section,
    Verdict,
    judge_difference,
    judge_equality,
    mean_interval,
    paired_difference,
    stratified_difference,
    write_section,
)

TABLE = ResultTable("scores", "50 % & more", ("strategy", "law_score"), [["A|B", "1.0 ± 0.2"], ["C", "−2"]], {1: "two"})


def test_markdown_escapes_bars_and_names_groups() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "| strategy | law_score |"
    assert lines[2] == r"| A\|B | 1.0 ± 0.2 |"
    assert lines[3] == "| **two** |  |"
    assert lines[-1] == "*50 % & more*"


def test_latex_escapes_its_commands_and_uses_booktabs() -> None:
    latex = TABLE.to_latex()
    assert r"law\_score" in latex
    assert r"50 \% \& more" in latex
    assert r"1.0 $\pm$ 0.2 \\" in latex
    assert latex.index(r"\toprule") < latex.index(r"\midrule") < latex.index(r"\bottomrule")


def test_csv_carries_the_group_of_every_row() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))
    assert rows == [["group", "strategy", "law_score"], ["", "A|B", "1.0 ± 0.2"], ["two", "C", "−2"]]


def test_a_row_of_another_width_and_a_bad_name_are_refused() -> None:
    with pytest.raises(ValueError, match="row 0 has 1 cells for 2 columns"):
        ResultTable("t", "", ("a", "b"), [["x"]])
    with pytest.raises(ValueError, match="table name"):
        ResultTable("Main Table", "", ("a",), [])


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(200):
        interval = mean_interval(rng.normal(3.0, 1.0, 60), seed=draw, resamples=400)
        covered += interval.low <= 3.0 <= interval.high
    assert 175 <= covered <= 198


def test_pairing_cancels_what_rows_have_in_common() -> None:
    rng = np.random.default_rng(1)
    ease = rng.normal(0.0, 5.0, 200)
    first, second = ease + 0.5 + rng.normal(0, 0.1, 200), ease + rng.normal(0, 0.1, 200)
    paired = paired_difference([first], [second])
    assert paired.mean == pytest.approx(0.5, abs=0.05)
    assert paired.high - paired.low < 0.1
    assert judge_difference(paired) is Verdict.HOLDS


def test_seeds_widen_the_interval() -> None:
    same = paired_difference([[1.0] * 50, [1.0] * 50], [[0.0] * 50])
    differing = paired_difference([[2.0] * 50, [0.0] * 50], [[0.0] * 50])
    assert same.low == same.high == 1.0
    assert differing.mean == 1.0
    assert differing.low < 0.5 < 1.5 < differing.high


def test_rows_and_runs_that_tests_share_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    rows, zeros = rng.integers(0, 2, 40).astype(float), np.zeros(40)
    pairs = [([rows], [zeros])] * 9
    apart, together = stratified_difference(pairs), stratified_difference(pairs, row_sets=["probe"] * 9)
    alone = paired_difference([rows], [zeros])
    assert together.mean == apart.mean == pytest.approx(alone.mean)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.1), "nine times the same test"
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    seeds = [([np.full(40, 2.0), zeros], [zeros])] * 9
    apart, together = stratified_difference(seeds), stratified_difference(seeds, run_sets=[("law", "law")] * 9)
    assert (together.low, together.high) == (0.0, 2.0), "a seed stays lucky in all tests"
    assert apart.high - apart.low < together.high - together.low
    with pytest.raises(ValueError):
        stratified_difference(pairs, row_sets=["probe"])


def test_different_rows_empty_and_infinite_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows; first has 2, second 1"):
        paired_difference([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="empty"):
        mean_interval([])
    with pytest.raises(ValueError, match="not finite"):
        mean_interval([1.0, float("nan")])


def test_verdicts() -> None:
    assert judge_difference(Interval(2, 1, 3, 9)) is Verdict.HOLDS
    assert judge_difference(Interval(2, 1, 3, 9), beyond=1.5) is Verdict.UNDECIDED
    assert judge_difference(Interval(-2, -3, -1, 9)) is Verdict.FAILS
    assert judge_difference(None) is Verdict.UNDECIDED
    assert judge_equality(Interval(0, -1, 1, 9), margin=2) is Verdict.HOLDS
    assert judge_equality(Interval(0, -3, 1, 9), margin=2) is Verdict.UNDECIDED
    assert judge_equality(Interval(-5, -6, -4, 9), margin=2) is Verdict.FAILS


def test_a_section_leaves_every_file_and_the_same_bytes_again(tmp_path: Path) -> None:
    def section() -> Section:
        drawing = Drawing()
        drawing.subplots().plot([1, 2, 3])
        claim = Claim("A beats B", "Table 1", Verdict.HOLDS, "A − B, points", Interval(1, 0.5, 1.5, 9), "interval > 0")
        return Section(
            "main", "Main", "Table 1", "Words.", "python -m x", "commit", [TABLE], [Figure("f", drawing, "f")], [claim]
        )

    page = write_section(section(), tmp_path / "one").read_text()
    assert "## Main (Table 1)" in page
    assert "+1.0 [+0.5, +1.5]" in page
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "section.md", "scores.md", "scores.tex", "scores.csv", "f.png", "f.svg", "claims.json",
    }  # fmt: skip
    stored = json.loads((tmp_path / "one" / "claims.json").read_text())
    assert Claim.from_dict(stored[0]) == section().claims[0]
    write_section(section(), tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
