"""Completions as JSON lines: what any model wrote, with what it should have written.

One line holds the answer under `raw_prediction`, `prediction` or `completion`, the references under `raw_answers`, and
whatever the task's scorer needs besides (`tests` and `entry_point` for code; rows in HumanEval's own form are taken).
The authors' files and those of `predict` wrap that in `example` and carry a `score` beside it::

    {"example": {"prompt": "User: …", "raw_prediction": " …", "raw_answers": ["…"]}, "score": 0.7}

Several answers to one problem are several lines with the same `task_id`, or with the same prompt where there is none; a
line that has neither is a problem of its own. A text in the place of a list of references or tests is one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esft_lightning.data.rows import DataError, expand_files, read_jsonl
from esft_lightning.scoring.row_texts import as_texts

__all__ = ["ANSWER_KEYS", "Completion", "read_completions"]

ANSWER_KEYS = ("raw_prediction", "prediction", "completion")
"""Keys that may hold the answer, in the order in which they are looked for."""


@dataclass(frozen=True)
class Completion:
    """One answer.

    Attributes:
        prediction: What the model wrote.
        row: The evaluation row that it answers.
        recorded: The score that the file gives it, None where it gives none.
        problem: What tells the problem from others: `task_id`, or the prompt, or else the line itself.
        origin: `file:line`.
    """

    prediction: str
    row: Mapping[str, Any]
    recorded: float | None
    problem: str
    origin: str


def read_completions(files: str | Sequence[str], *, code: bool = False) -> list[Completion]:
    """Read completions, `.gz` or plain.

    Args:
        files: Paths and globs.
        code: Whether rows must carry tests instead of `raw_answers`.

    Raises:
        DataError: A file that is missing or empty, or a line that is no completion; file and line are named.
    """
    return [
        _completion(origin, record, code)
        for path in expand_files(files, "--completions")
        for origin, record in _records(path)
    ]


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for origin, record in read_jsonl(path):
        if isinstance(record, DataError):
            raise record
        yield origin, record


def _completion(origin: str, record: Mapping[str, Any], code: bool) -> Completion:
    inner = record.get("example", record)
    if not isinstance(inner, Mapping):
        raise DataError(f"{origin}: 'example' is a JSON {type(inner).__name__}; expected an object")
    key = next((name for name in ANSWER_KEYS if name in inner), None)
    if key is None:
        raise DataError(f"{origin}: no answer; expected one of {', '.join(ANSWER_KEYS)} among {sorted(inner)}")
    if not isinstance(inner[key], str):
        raise DataError(f"{origin}: {key!r} is {inner[key]!r}; expected a text")
    needed = "entry_point" if code else "raw_answers"
    if not inner.get(needed):
        raise DataError(f"{origin}: {needed!r} is missing; the row has {sorted(inner)}")
    if not code:
        inner = {**inner, "raw_answers": _named(origin, inner["raw_answers"], "raw_answers")}
    elif "tests" in inner:
        inner = {**inner, "tests": _named(origin, inner["tests"], "tests")}
    recorded = record.get("score")
    is_number = isinstance(recorded, int | float) and not isinstance(recorded, bool)
    if recorded is not None and not (is_number and math.isfinite(recorded)):
        raise DataError(f"{origin}: 'score' is {recorded!r}; expected a number, or leave it out")
    problem = _problem(inner, origin) or _problem(record, origin) or f"line {origin}"
    return Completion(inner[key], inner, None if recorded is None else float(recorded), problem, origin)


def _named(origin: str, value: Any, name: str) -> list[str]:
    try:
        return as_texts(value, name)
    except DataError as error:
        raise DataError(f"{origin}: {error}") from None


def _problem(row: Mapping[str, Any], origin: str) -> str | None:
    """What tells a row's problem from others; None where it has neither an id nor a prompt."""
    for key in ("task_id", "prompt"):
        value = row.get(key)
        if value is None or value != value or (isinstance(value, str) and not value.strip()):
            continue  # a null, a NaN or a blank names no problem
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise DataError(f"{origin}: {key!r} is {value!r}; expected a text or a number, or leave it out")
        return f"{key} {value} {row.get('entry_point', '')}"
    return None
