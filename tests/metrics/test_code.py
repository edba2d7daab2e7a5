"""The code metric: what counts as the program, permission, and released HumanEval solutions."""

import gzip
import json
from pathlib import Path

import pytest

from esft_lightning.metrics.code import (
    CodeExecutionNotAllowedError,
    extract_code,
    score_code,
    score_code_batch,
)

ROW = {"tests": ["assert double(2) == 4", "assert double(-1) == -2"], "entry_point": "double", "raw_answers": ["…"]}
RIGHT = "def double(x):\n    return 2 * x"


def test_nothing_is_run_unless_allowed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w')\n{RIGHT}"
    for permission in (False, None, "yes", 1):
        with pytest.raises(CodeExecutionNotAllowedError, match="allow_code_execution=True"):
            score_code(code, ROW, allow_code_execution=permission)  # type: ignore[arg-type]
    with pytest.raises(CodeExecutionNotAllowedError):
        score_code(code, ROW)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("prediction", "preamble", "program"),
    [
        (f" {RIGHT}", "", RIGHT),
        (f"Sure:\n```python\n{RIGHT}\n```\nIt doubles.", "", RIGHT),
        (f"{RIGHT}\n\nUser: and now?", "", f"{RIGHT}\n\n"[:-1]),
        ("    return 2 * x", "def double(x):", "def double(x):\n    return 2 * x"),
        ("     return 2 * x", "def double(x):", "def double(x):\n    return 2 * x"),  # the chat's space and four
        (" return 2 * x", "def double(x):\n 'Doc.'", "def double(x):\n 'Doc.'\n return 2 * x"),
        ("def (:", "", "def (:"),
    ],
)
def test_what_counts_as_the_program(prediction: str, preamble: str, program: str) -> None:
    assert extract_code(prediction, preamble) == program


def test_a_row_without_tests_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs 'tests'"):
        score_code(RIGHT, {"raw_answers": [RIGHT]}, allow_code_execution=True)
    with pytest.raises(ValueError, match="argument"):
        score_code_batch([RIGHT], [], allow_code_execution=True)


def test_right_wrong_and_unfinished_programs() -> None:
    predictions = [RIGHT, "def double(x): return x", "def double(x):", "", "double = lambda x: x + x", "no code"]
    assert score_code_batch(predictions, [ROW] * 6, allow_code_execution=True) == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_every_test_must_pass() -> None:
    assert score_code("def double(x): return x ** 2", ROW, allow_code_execution=True) == 0.0


def test_released_solutions_pass_and_mixed_up_ones_fail(reference_data: Path) -> None:
    with gzip.open(reference_data / "code/HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        problems = [json.loads(line) for line in file][:60]
    rows = [
        {
            "tests": [f"{problem['test']}\ncheck({problem['entry_point']})"],
            "entry_point": problem["entry_point"],
            "preamble": problem["prompt"],
        }
        for problem in problems
    ]
    solutions = [problem["canonical_solution"] for problem in problems]
    assert score_code_batch(solutions, rows, allow_code_execution=True) == [1.0] * 60
    assert sum(score_code_batch(solutions[1:31], rows[:30], allow_code_execution=True)) == 0.0
