"""`TaskScore` is the plain mean of the task's own scorer, however the samples are dealt out."""

import math

import pytest

from esft_lightning.scoring.sandbox import missing_packages, missing_walls
from esft_lightning.tasks import TASKS, scorer
from esft_lightning.tasks.task_score import TaskScore

ROW = {"prompt": "User: x\n\nAssistant:", "raw_answers": ['{"intent": "Alarm-Set", "slots": {"day": "D1"}}']}
RIGHT, WRONG = ROW["raw_answers"][0], '{"intent": "Alarm-Set", "slots": {}}'


def test_the_mean_of_the_scorer_over_all_updates():
    metric = TaskScore("intent")
    metric.update([RIGHT, WRONG], [ROW, ROW])
    metric.update([RIGHT], [ROW])
    expected = [scorer("intent")(prediction, ROW) for prediction in (RIGHT, WRONG, RIGHT)]
    assert expected == [1.0, 0.0, 1.0]
    assert metric.compute().item() == pytest.approx(2 / 3)


def test_two_ranks_add_up_to_one():
    """Each state is summed over ranks, so a sample counts once wherever it was scored, even on uneven ranks."""
    whole, left, right = (TaskScore("intent") for _ in range(3))
    whole.update([RIGHT, WRONG, RIGHT], [ROW] * 3)
    left.update([RIGHT, WRONG], [ROW] * 2)
    right.update([RIGHT], [ROW])
    assert all(reduce.__name__ == "dim_zero_sum" for reduce in whole._reductions.values())
    assert (left.total + right.total) / (left.count + right.count) == whole.compute()


def test_nothing_scored_is_not_zero():
    assert math.isnan(TaskScore("intent").compute().item())


def test_code_is_scored_only_where_running_it_is_allowed():
    row = {"prompt": "x", "raw_answers": ["…"], "entry_point": "double", "tests": ["assert double(2) == 4"]}
    predictions = ["def double(x):\n    return 2 * x", "def double(x):\n    return x"]
    with pytest.raises(PermissionError, match="allow_code_execution=True"):
        TaskScore("code").update(predictions, [row, row])
    metric = TaskScore("code", {"allow_code_execution": True})
    metric.update(predictions, [row, row])
    assert metric.compute().item() == 0.5
    assert metric.missing_walls == missing_walls()
    assert TaskScore("code").missing_walls is TaskScore("law").missing_walls is None, "no code is run"


def test_every_task_has_a_scorer_and_wrong_use_is_refused():
    for task in TASKS:
        assert scorer(task).__name__ == f"score_{task}"
    with pytest.raises(ValueError, match="unknown task 'chess'; expected one of math"):
        TaskScore("chess")
    with pytest.raises(ValueError, match="1 predictions for 2 rows of intent"):
        TaskScore("intent").update([RIGHT], [ROW, ROW])


def test_a_verdict_of_the_code_task_says_why_in_the_answers_of_a_test():
    rows = [{"prompt": "q", "entry_point": "f", "tests": ["assert f() == 1"]}] * 3
    answers = ["def f():\n    return 1", "def f():\n    return 2", "import numpy\n\ndef f():\n    return 1"]
    scored = TaskScore("code", {"allow_code_execution": True})
    scored.update(answers, rows)
    entries = scored.completions(answers, rows)
    assert [entry["score"] for entry in entries] == [1.0, 0.0, 0.0]
    assert "test 1" in entries[1]["reason"] and "needs the package numpy" in entries[2]["reason"]
    assert missing_packages([entry["reason"] for entry in entries]) == (
        "1 of 3 programs or their tests need packages that the sandbox does not have, and score 0: numpy (1)"
    )
    plain = TaskScore("math")
    plain.update(["#### 1"], [{"raw_answers": ["1"]}])
    assert plain.completions(["#### 1"], [{"raw_answers": ["1"]}])[0].keys() == {"example", "score"}
    assert missing_packages([]) is None
