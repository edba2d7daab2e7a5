"""The code metric: what counts as the program, permission, and released HumanEval solutions."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.code_forms import FORMS, Solved, defined
from benchmarks.scoring import solved_problems
from esft_lightning.data.rows import DataError
from esft_lightning.tasks.code_score import (
    CodeExecutionNotAllowedError,
    code_sample,
    extract_code,
    mbpp_sample,
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


def solved(reference_data: Path, name: str, every: int = 1) -> list[tuple[dict, Solved]]:
    rows = solved_problems(reference_data)[name][::every]
    return [(row, Solved(row["prompt"], row["canonical_solution"], row["entry_point"])) for row in rows]


@pytest.mark.parametrize("form", FORMS)
def test_released_solutions_are_the_same_program_in_every_form(reference_data: Path, form: str) -> None:
    problems = solved(reference_data, "HumanEval") + solved(reference_data, "MBPP", every=8)
    assert len(problems) == 164 + 122
    different = [
        row["task_id"]
        for row, problem in problems
        if defined(extract_code(FORMS[form](problem), row["prompt"], problem.entry_point), problem.entry_point)
        != defined(problem.program, problem.entry_point)
    ]
    assert not different


def test_there_are_at_least_ten_forms_and_they_are_different() -> None:
    problem = Solved('def f(x):\n    """Doc."""\n', "    return x\n", "f")
    assert len({form(problem) for form in FORMS.values()}) == len(FORMS) >= 10


GOOD = "def f(x):\n    return x + 1"
BAD = "def f(x):\n    return x"


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{GOOD}\n```\n```python\n{BAD}\n```",
        f"```python\ndef f(x):\n    pass\n```\n```python\n{GOOD}\n```",
        "```python\nimport math\n```\n```python\ndef f(x):\n    return math.floor(x) + 1\n```",
        "```python\ndef f(x):\n    return g(x)\n```\nwith\n```python\ndef g(x):\n    return x + 1\n```",
        f"```python\nf(1)  # gives 2\n```\n```python\n{GOOD}\n```",
        f"Use `def f(x): ...` as in\n\n{GOOD}\n\nDone",
        f"{GOOD}\n\nNote",
        f"{GOOD}\nExplanation: one\n",
        "The one-liner `def f(x): return x + 1` does it.",
        "```python def f(x): return x + 1```",
        "f = lambda x: x + 1",
        f"> ```python\n> {GOOD.replace(chr(10), chr(10) + '> ')}\n> ```",
        f"````markdown\n```python\n{GOOD}\n```\n````",
        'def f(x):\n    """Adds.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1',
        f"[BEGIN]\n{GOOD}\n[DONE]\nnothing",
        f"<code>\n{GOOD}\n</code>",
        f"{GOOD}<|im_end|>",
        f"1. Write:\n\n        {GOOD.replace(chr(10), chr(10) + ' ' * 8)}\n\n2. Run it.",
        f"```js\nfunction f(x) {{ return x }}\n```\n```python\n{GOOD}\n```",
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None\ndef f(x):\n    return x + 1",
    ],
)
def test_the_first_block_that_defines_the_function_is_the_program(answer: str) -> None:
    row = {"tests": ["assert f(1) == 2"], "entry_point": "f"}
    assert score_code(answer, row, allow_code_execution=True) == 1.0


@pytest.mark.parametrize("body", ["    return 2 * x", "return 2 * x", "y = 2 * x\nreturn y", "y = 2 * x\n    return y"])
@pytest.mark.parametrize("around", ["{}", "```python\n{}\n```", "Here is the body:\n```\n{}\n```\nIt doubles."])
@pytest.mark.parametrize("preamble", ["def double(x):\n    'Doc.'\n", "import math\n\ndef double(x):"])
def test_a_body_completes_the_function_that_the_preamble_leaves_open(body: str, around: str, preamble: str) -> None:
    row = {**ROW, "preamble": preamble}
    assert score_code(around.format(body), row, allow_code_execution=True) == 1.0


def test_a_variable_of_the_functions_name_in_its_body_is_no_definition() -> None:
    row = {**ROW, "preamble": "def double(x):\n    'Doc.'\n"}
    assert score_code("    double = 2 * x\n    return double", row, allow_code_execution=True) == 1.0


@pytest.mark.parametrize("tests", ["assert double(2) == 4\nassert double(3) == 6", ["assert double(2) == 4"]])
def test_a_text_of_tests_is_one_test(tests: str | list[str]) -> None:
    assert score_code(RIGHT, {**ROW, "tests": tests}, allow_code_execution=True) == 1.0
    assert score_code("def double(x): return 5", {**ROW, "tests": tests}, allow_code_execution=True) == 0.0


@pytest.mark.parametrize("tests", [5, [5], {"a": 1}, [None]])
def test_tests_that_are_no_texts_are_refused(tests: object) -> None:
    with pytest.raises(DataError, match="'tests' is"):
        score_code(RIGHT, {**ROW, "tests": tests}, allow_code_execution=True)
    with pytest.raises(DataError, match="'test_list' is"):
        mbpp_sample({"text": "Double.", "code": RIGHT, "test_list": tests})


def test_mbpp_takes_one_test_as_a_text() -> None:
    sample = mbpp_sample({"text": "Double.", "code": RIGHT, "test_list": "assert double(2) == 4"})
    assert sample["tests"] == ["assert double(2) == 4"]


def test_a_function_called_check_is_tested_like_any_other() -> None:
    row = {
        "prompt": "def check(n):\n", "entry_point": "check",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9",
    }  # fmt: skip
    assert score_code("    return n * n", code_sample(row), allow_code_execution=True) == 1.0
    assert score_code("    return n + n", code_sample(row), allow_code_execution=True) == 0.0
