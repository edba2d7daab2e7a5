"""How a task is scored. Each task has a plain function `score_<task>(prediction, row) -> float in [0, 1]` in its file.

Importing this package loads neither torch nor any scorer; `TaskScore` is loaded on first use.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from esft_lightning.errors import SettingError

TASKS = ("math", "code", "intent", "summary", "law", "translation")
"""The six tasks, in the paper's order."""

__all__ = ["TASKS", "TaskScore", "batch_scorer", "scorer"]


def scorer(task: str) -> Callable[..., float]:
    """The function that scores one prediction of `task`: `score(prediction, row, …) -> float` in [0, 1].

    Raises:
        ValueError: No such task.
    """
    if task not in TASKS:
        raise SettingError(f"unknown task {task!r}; expected one of {', '.join(TASKS)}")
    return getattr(import_module(f"esft_lightning.scoring.{task}"), f"score_{task}")


def batch_scorer(task: str) -> Callable[..., list[float]]:
    """The function that scores many predictions of `task`: `score(predictions, rows, …) -> list of floats` in [0, 1].

    A task's own `score_<task>_batch` where it has one (code runs its tests side by side), else its scorer in a loop.

    Raises:
        ValueError: No such task.
    """
    one = scorer(task)

    def one_by_one(predictions: Sequence[str], rows: Sequence[Mapping[str, Any]], **options: Any) -> list[float]:
        return [one(prediction, row, **options) for prediction, row in zip(predictions, rows, strict=True)]

    return getattr(import_module(f"esft_lightning.scoring.{task}"), f"score_{task}_batch", one_by_one)


def __getattr__(name: str) -> Any:
    if name == "TaskScore":
        return import_module("esft_lightning.tasks.task_score").TaskScore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
