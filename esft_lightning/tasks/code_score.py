"""Code metric: functional correctness (pass@1): the generated function is run against its row's tests.

Generated code is run only where the caller says `allow_code_execution=True`, and then contained (`sandbox.py`). A row
holds `entry_point`, `tests` (assert lines or whole test programs, each run on its own; every one must pass) and,
where the prediction may rely on code that stands before it (imports, helper functions, a signature to be completed),
that code as `preamble`.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.errors import UserError
from esft_lightning.scoring.code_extraction import extract_code
from esft_lightning.scoring.row_texts import as_texts, texts
from esft_lightning.scoring.sandbox import Job, Limits, Verdict, run_jobs


class CodeExecutionNotAllowedError(UserError, PermissionError):
    """Scoring would run generated code, and nobody has allowed that."""

    def __init__(self) -> None:
        super().__init__(
            "scoring this task runs code that a model has written; allow it with allow_code_execution=True "
            "(it then runs in separate processes with limits on time, memory and files, and without network)"
        )


def code_sample(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a row in HumanEval's form (also MBPP's release in that form) into a row with `preamble` and `tests`.

    Its `prompt` (imports and signature) becomes the preamble, its `test` program with the call of `check` the one test;
    rows that have `tests` stay as they are.
    """
    if "tests" in record or not {"prompt", "test", "entry_point"} <= set(record):
        return dict(record)
    test, entry_point = record["test"], record["entry_point"]
    # The test program defines a `check` of its own, which hides a function of that name
    call = f"{test}\ncheck({entry_point})" if entry_point != "check" else f"candidate = check\n{test}\ncheck(candidate)"
    return {**record, "preamble": record["prompt"], "tests": [call]}


def mbpp_sample(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a row in MBPP's own form (`text` or `prompt`, `code`, `test_list`) into a question with answer and tests.

    The tests stand in the question, as its makers ask it; the function that they call is found in `code`.

    Raises:
        ValueError: `code` defines no function that the tests call.
    """
    tests = texts(record, "test_list")
    defined = [node.name for node in ast.walk(_parsed(record["code"])) if isinstance(node, ast.FunctionDef)]
    called = [
        node.func.id
        for test in tests
        for node in ast.walk(_parsed(test))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    entry = next((name for name in called if name in defined), None)
    if entry is None:
        raise DataError(f"MBPP row {record.get('task_id', '?')}: its tests call none of the functions in 'code'")
    imports = record.get("test_imports") or record.get("test_setup_code") or ""
    setup = "\n".join(as_texts(imports, "test_imports")) if imports else ""
    text = str(record.get("text") or record["prompt"])
    asked = "\n".join(tests)
    return {
        **{key: value for key, value in record.items() if key not in ("text", "code", "test_list")},
        "prompt": f"{text}\nYour code should pass these tests:\n{asked}",
        "raw_answers": [record["code"]],
        "entry_point": entry,
        "tests": [f"{setup}\n{test}" if setup else test for test in tests],
    }


def _parsed(source: str) -> ast.AST:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def make_job(prediction: str, row: Mapping[str, Any]) -> Job:
    """Return the sandbox job of one prediction.

    Raises:
        ValueError: When the row lacks `tests` or `entry_point`.
    """
    at = f"{row['origin']}: " if "origin" in row else ""
    if not row.get("tests") or not row.get("entry_point"):
        raise DataError(
            f"{at}a code row needs 'tests' (assert lines) and 'entry_point' (function name); it has {sorted(row)}"
        )
    preamble, entry_point = row.get("preamble") or "", row["entry_point"]
    if not isinstance(preamble, str) or not isinstance(entry_point, str):
        raise DataError(f"'preamble' is {preamble!r} and 'entry_point' {entry_point!r}; expected texts")
    return Job(extract_code(prediction, preamble, entry_point), texts(row, "tests"), entry_point)


def score_code_batch(
    predictions: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    allow_code_execution: bool = False,
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    on_done: Callable[[Verdict], None] | None = None,
) -> list[float]:
    """Score many predictions, several processes at a time.

    Args:
        predictions: What the model wrote, one text per row.
        rows: Each with `tests`, `entry_point`, optionally `preamble`.
        allow_code_execution: Must be True, since this runs what the model wrote.
        limits: Hard limits of each run; default `Limits()`.
        workers: How many run at once; default one per processor.
        on_done: Called with each verdict, in order; for a progress bar or a log of reasons.

    Returns:
        Per row 1.0 when every test passed, else 0.0.

    Raises:
        CodeExecutionNotAllowedError: When `allow_code_execution` is not True.
        ValueError: When a row lacks its tests, or the numbers of predictions and rows differ.
    """
    if allow_code_execution is not True:
        raise CodeExecutionNotAllowedError
    jobs = [make_job(prediction, row) for prediction, row in zip(predictions, rows, strict=True)]
    return [float(verdict.passed) for verdict in run_jobs(jobs, limits, workers=workers, on_done=on_done)]


def score_code(
    prediction: str, row: Mapping[str, Any], allow_code_execution: bool = False, *, limits: Limits | None = None
) -> float:
    """Score one prediction: 1.0 when the function passes every test of its row, else 0.0 (see `score_code_batch`)."""
    return score_code_batch([prediction], [row], allow_code_execution, limits=limits, workers=1)[0]
