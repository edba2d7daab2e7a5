"""The scorers of the six tasks, by name: `score_<task>(prediction, row) -> float in [0, 1]`, each in its task's file.

Importing this loads neither torch nor any scorer.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from esft_lightning.errors import SettingError

TASKS = ("math", "code", "intent", "summary", "law", "translation")
"""The six tasks, in the paper's order."""


def scorer(task: str) -> Callable[..., float]:
    """The function that scores one prediction of `task`: `score(prediction, row, …) -> float` in [0, 1].

    Raises:
        ValueError: No such task.
    """
    if task not in TASKS:
        raise SettingError(f"unknown task {task!r}; expected one of {', '.join(TASKS)}")
    return getattr(import_module(f"esft_lightning.tasks.{task}_score"), f"score_{task}")


def batch_scorer(task: str) -> Callable[..., list[float]]:
    """The function that scores many predictions of `task`: `score(predictions, rows, …) -> list of floats` in [0, 1].

    A task's own `score_<task>_batch` where it has one (code runs its tests side by side), else its scorer in a loop.

    Raises:
        ValueError: No such task.
    """
    one = scorer(task)

    def one_by_one(predictions: Sequence[str], rows: Sequence[Mapping[str, Any]], **options: Any) -> list[float]:
        return [one(prediction, row, **options) for prediction, row in zip(predictions, rows, strict=True)]

    return getattr(import_module(f"esft_lightning.tasks.{task}_score"), f"score_{task}_batch", one_by_one)
