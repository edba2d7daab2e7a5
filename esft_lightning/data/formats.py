"""The forms in which the field's data sets are published, told by their columns: nobody should have to map GSM8K.

| form | columns | training row | evaluation row |
|---|---|---|---|
| authors' | `messages` | as it is | its question and answer |
| authors' evaluation | `prompt`, `raw_answers` | – | as it is |
| MetaMathQA | `query`, `response` | yes | yes |
| Alpaca, evol-codealpaca | `instruction`, `output` (and `input`) | yes | yes |
| GSM8K | `question`, `answer` | yes | yes |
| MATH | `problem`, `solution` (and `answer`) | yes | by `answer`, else by the solution's box |
| HumanEval | `prompt`, `canonical_solution` | yes | by the code task |
| MBPP | `text` or `prompt`, `code`, `test_list` | yes | by the code task |

A form is told row by row. `column_mapping` comes first; what it does not cover is told here.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Purpose = Literal["train", "test"]


class RowForm(NamedTuple):
    """One form: which columns show it, and what they become (see `rows.map_columns`)."""

    name: str
    columns: frozenset[str]
    train: Mapping[str, str]
    test: Mapping[str, str]


def _form(name: str, columns: str, train: tuple[str, str], test: tuple[str, str] | None) -> RowForm:
    question = {} if test is None else {"prompt": test[0], "raw_answers": test[1]}
    return RowForm(name, frozenset(columns.split()), {"user": train[0], "assistant": train[1]}, question)


_ALPACA_INPUT = ("{instruction}\n{input}", "output")
_HUMANEVAL = ("Complete this Python function:\n{prompt}", "{prompt}{canonical_solution}")
# The first that fits counts, so that forms with more columns come first.
FORMS = (
    _form("Alpaca with input", "instruction input output", _ALPACA_INPUT, _ALPACA_INPUT),
    _form("Alpaca", "instruction output", ("instruction", "output"), ("instruction", "output")),
    _form("MetaMathQA", "query response", ("query", "response"), ("query", "response")),
    _form("MATH with answer", "problem solution answer", ("problem", "solution"), ("problem", "answer")),
    _form("MATH", "problem solution", ("problem", "solution"), ("problem", "solution")),
    _form("GSM8K", "question answer", ("question", "answer"), ("question", "answer")),
    _form("HumanEval", "prompt canonical_solution", _HUMANEVAL, None),
    _form("MBPP", "text code test_list", ("text", "code"), None),
    _form("MBPP, sanitized", "prompt code test_list", ("prompt", "code"), None),
)
_DONE = {"train": frozenset({"messages"}), "test": frozenset({"prompt", "raw_answers"})}


def recognised(record: Mapping[str, Any], purpose: Purpose) -> Mapping[str, str]:
    """The column mapping of a record's form; empty where it needs none or has none of these forms.

    Args:
        record: A row as it was published.
        purpose: Whether it becomes a training or an evaluation row.
    """
    if "messages" in record or _DONE[purpose] <= set(record):
        return {}
    filled = {name for name, value in record.items() if value not in (None, "")}
    form = next((form for form in FORMS if form.columns <= filled), None)
    return {} if form is None else form.train if purpose == "train" else form.test


def known_forms() -> str:
    """The forms by name, for error messages."""
    return ", ".join(dict.fromkeys(form.name.partition(" with")[0].partition(",")[0] for form in FORMS))
