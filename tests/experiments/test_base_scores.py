"""What a base can do before it is tuned: the rule, the table, and scores that are kept as they come."""

import json
from pathlib import Path

import pytest

from experiments import base_scores
from experiments.base_scores import TaskScores

Captured = pytest.CaptureFixture[str]
ABILITIES = {"general": {"recall": 40.0}, "in_context": {"copy": 20.0}, "in_context_gain": 15.0}


def scores(right: int, rows: int = 100) -> list[float]:
    return [100.0] * right + [0.0] * (rows - right)


@pytest.mark.parametrize(
    ("right", "rote", "worth"),
    [(30, 5.0, True), (30, 22.0, False), (2, 1.0, False), (60, 5.0, False), (0, 0.0, False)],
)
def test_worth_adapting_is_more_than_rote_and_less_than_half_with_the_most_shots(
    right: int, rote: float, worth: bool
) -> None:
    task = TaskScores("law", rote, {4: scores(right), 0: scores(0)})
    assert task.worth_adapting == worth


def test_the_table_counts_the_tasks_that_meet_the_goal() -> None:
    entries = [TaskScores("law", 4.0, {0: scores(0), 4: scores(30)}), TaskScores("code", 0.2, {0: [], 4: scores(70)})]
    entries[1].shots[0] = scores(50)
    text = base_scores.table(entries, ABILITIES)
    assert "| law | 4.0 | 0.0 (0.0–0.0) | 30.0 (21.0–39.0) | yes |" in text
    assert "1 of 2 tasks meet the goal" in text and "recall 40.0" in text and "beyond rote: 15.0 points" in text


def test_scores_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(base_scores, "abilities", lambda base: ABILITIES)
    monkeypatch.setattr(base_scores, "_NEW_TOKENS", 4)
    arguments = ["--tasks", "law", "--shots", "0", "1", "--rows", "2", "--output", str(tmp_path)]
    assert base_scores.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| task | best by rote | 0 shots | 1 shots |") and "| law |" in printed
    kept = json.loads((tmp_path / "base_scores.json").read_text())
    assert kept["of"] == ["tiny", 2, "validation"] and len(kept["law 0"]) == len(kept["law 1"]) == 2
    monkeypatch.setattr(base_scores, "score_task", None)
    assert base_scores.main(arguments) == 0, "nothing is asked again"
    assert capsys.readouterr().out == printed
    assert base_scores.main([*arguments, "--split", "test"]) == 2
    assert "name another output" in capsys.readouterr().err


def test_code_is_scored_where_it_may_be_run(tmp_path: Path, capsys: Captured) -> None:
    assert base_scores.main(["--tasks", "code", "--output", str(tmp_path / "x")]) == 2
    assert "--allow-code-execution" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
