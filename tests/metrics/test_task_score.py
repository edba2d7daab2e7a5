"""`TaskScore` is the plain mean of the task's own scorer, however the samples are dealt out."""

import math

import pytest

from esft_lightning.metrics import TASKS, scorer
from esft_lightning.metrics.sandbox import missing_walls
from esft_lightning.metrics.task_score import TaskScore

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
