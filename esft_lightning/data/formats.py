"""The forms in which the field's data sets are published, told by their columns: nobody should have to map GSM8K.

| form | columns | training row | evaluation row |
|---|---|---|---|
| authors', Tulu 3, UltraChat | `messages` | as it is | its question and answer |
| authors' evaluation | `prompt`, `raw_answers` | – | as it is |
| ShareGPT, OpenHermes, SlimOrca | `conversations` of `from` and `value` | yes | its question and answer |
| LMSYS-Chat, WildChat | `conversation` | yes | its question and answer |
| Alpaca, CodeAlpaca, evol-codealpaca | `instruction`, `output` (and `input`) | yes | yes |
| Dolly | `instruction`, `response` (and `context`) | yes | yes |
| MetaMathQA | `query`, `response` | yes | yes |
| CodeFeedback | `query`, `answer` | yes | yes |
| MATH, NuminaMath | `problem`, `solution` (and `answer`) | yes | by `answer`, else by the solution's box |
| OpenMathInstruct-2 | `problem`, `generated_solution`, `expected_answer` | yes | by `expected_answer` |
| OpenOrca | `question`, `response` (and `system_prompt`) | yes | yes |
| GSM8K | `question`, `answer` | yes | yes |
| HumanEval | `prompt`, `canonical_solution` | yes | by the code task |
| MBPP | `text` or `prompt`, `code`, `test_list` | yes | by the code task |
| prompt and completion | `prompt`, `completion` or `response` | yes | yes |

A form is told row by row. `column_mapping` comes first; what it does not cover is told here. What becomes of a row's
further columns stands in `row_keys`.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from esft_lightning.data.row_keys import is_blank

Purpose = Literal["train", "test"]


class RowForm(NamedTuple):
    """One form: which columns show it, and what they become (see `columns.map_columns`)."""

    name: str
    columns: frozenset[str]
    train: Mapping[str, str]
    test: Mapping[str, str]


def _form(name: str, columns: str, train: tuple[str, str], test: tuple[str, str] | None) -> RowForm:
    question = {} if test is None else {"prompt": test[0], "raw_answers": test[1]}
    return RowForm(name, frozenset(columns.split()), {"user": train[0], "assistant": train[1]}, question)


def _chat(name: str, column: str) -> RowForm:
    return RowForm(name, frozenset({column}), {"messages": column}, {"messages": column})


def _pair(name: str, question: str, answer: str) -> RowForm:
    return _form(name, f"{question} {answer}", (question, answer), (question, answer))


_ALPACA_INPUT = ("{instruction}\n{input}", "output")
_DOLLY_CONTEXT = ("{instruction}\n{context}", "response")
_HUMANEVAL = ("Complete this Python function:\n{prompt}", "{prompt}{canonical_solution}")
# The first that fits counts, so that forms with more columns come first.
FORMS = (
    _chat("ShareGPT", "conversations"),
    _chat("LMSYS-Chat", "conversation"),
    _form("Alpaca with input", "instruction input output", _ALPACA_INPUT, _ALPACA_INPUT),
    _pair("Alpaca", "instruction", "output"),
    _form("Dolly with context", "instruction context response", _DOLLY_CONTEXT, _DOLLY_CONTEXT),
    _pair("Dolly", "instruction", "response"),
    _pair("MetaMathQA", "query", "response"),
    _pair("CodeFeedback", "query", "answer"),
    _form("MATH with answer", "problem solution answer", ("problem", "solution"), ("problem", "answer")),
    _pair("MATH", "problem", "solution"),
    _form(
        "OpenMathInstruct", "problem generated_solution expected_answer",
        ("problem", "generated_solution"), ("problem", "expected_answer"),
    ),
    _pair("OpenOrca", "question", "response"),
    _pair("GSM8K", "question", "answer"),
    _form("HumanEval", "prompt canonical_solution", _HUMANEVAL, None),
    _form("MBPP", "text code test_list", ("text", "code"), None),
    _form("MBPP, sanitized", "prompt code test_list", ("prompt", "code"), None),
    _pair("prompt and completion", "prompt", "completion"),
    _pair("prompt and response", "prompt", "response"),
)  # fmt: skip


def form_of(record: Mapping[str, Any], purpose: Purpose) -> RowForm | None:
    """A record's form; None where it needs none or has none of these.

    Args:
        record: A row as it was published.
        purpose: Whether it becomes a training or an evaluation row.
    """
    if not is_blank(record.get("messages")):
        return None
    filled = {name for name, value in record.items() if not is_blank(value)}
    if purpose == "test" and {"prompt", "raw_answers"} <= filled:
        return None
    return next((form for form in FORMS if form.columns <= filled), None)


def known_forms() -> str:
    """The forms by name, for error messages."""
    return ", ".join(dict.fromkeys(form.name.partition(" with")[0].partition(",")[0] for form in FORMS))
