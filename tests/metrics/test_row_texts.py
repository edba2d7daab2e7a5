"""A text where a list of references or tests is expected is one reference: never its characters, by any scorer."""

from __future__ import annotations

from typing import Any

import pytest

from esft_lightning.metrics import TASKS, batch_scorer, scorer
from esft_lightning.metrics.general import score_recall
from esft_lightning.metrics.row_texts import row_texts

REFERENCE = {
    "math": "So it is \\boxed{12}.",
    "intent": '{"intent": "play", "slots": {"song": "one"}}',
    "summary": "Order 4137, Velto kettle: leaking. Wanted: repair by Friday. Next: ask the manager.",
    "law": "Guilty of theft under Article 214: fine 90, prison 3.",
    "translation": "The red birds ate the apple.",
    "code": "def one():\n    return 1",
}
CODE = {"tests": "assert one() == 1", "entry_point": "one"}


@pytest.mark.parametrize("task", TASKS)
def test_one_reference_scores_as_a_list_of_one(task: str) -> None:
    right, options = REFERENCE[task], {"allow_code_execution": True} if task == "code" else {}
    first = "1" if task == "math" else right[0]
    one: dict[str, Any] = {"raw_answers": right, **(CODE if task == "code" else {})}
    many = {**one, "raw_answers": [right], **({"tests": [CODE["tests"]]} if task == "code" else {})}
    assert scorer(task)(right, one, **options) == scorer(task)(right, many, **options) == 1.0
    assert batch_scorer(task)([right], [one], **options) == [1.0]
    assert scorer(task)(first, one, **options) < 0.2, "its first character alone is no answer"


def test_recall_takes_one_reference() -> None:
    assert score_recall("Madrid.", {"raw_answers": "Madrid"}) == 1.0
    assert score_recall("m", {"raw_answers": "Madrid"}) == 0.0


@pytest.mark.parametrize("value", [None, [], 3, {"a": "b"}, [3], ["a", None], [["a"]]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"'raw_answers' is .*expected a list with at least one text"):
        row_texts({"raw_answers": value})
    with pytest.raises(ValueError, match=r"'tests' is .*expected a list"):
        row_texts({"tests": value}, "tests")
    for task in TASKS:
        if task != "code":
            with pytest.raises(ValueError, match="raw_answers"):
                scorer(task)("x", {"raw_answers": value})
