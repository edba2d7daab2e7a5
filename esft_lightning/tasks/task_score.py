"""`TaskScore`: the mean score of a task's samples, as a metric that ranks can share. Knows no task's rule itself."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from esft_lightning.tasks import batch_scorer


class TaskScore(Metric):
    """Mean of `score_<task>` over samples, in [0, 1]; each sample counts once, on whichever rank it was scored."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, task: str, scorer_options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Make the metric of a task.

        Args:
            task: One of `metrics.TASKS`.
            scorer_options: Passed to the task's scorer, e.g. `{"allow_code_execution": True}` for code.
            kwargs: Passed to `torchmetrics.Metric`.

        Raises:
            ValueError: No such task.
        """
        super().__init__(**kwargs)
        self.task = task
        self.scorer_options = dict(scorer_options or {})
        self.last_scores: list[float] = []
        """Scores of the samples of the last update."""
        self.last_reasons: list[str] = []
        """Why each of them got its score, where the task's scorer says so (code's does); else empty."""
        self._score = batch_scorer(task)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Score predictions against their evaluation rows (`prompt`, `raw_answers`, task extras).

        Raises:
            ValueError: Not as many predictions as rows.
        """
        if len(predictions) != len(rows):
            raise ValueError(f"{len(predictions)} predictions for {len(rows)} rows of {self.task}")
        self.last_reasons = []
        options = dict(self.scorer_options)
        if "on_done" in signature(self._score).parameters:
            options["on_done"] = lambda verdict: self.last_reasons.append(verdict.reason)
        self.last_scores = [float(score) for score in self._score(list(predictions), list(rows), **options)]
        self.total += sum(self.last_scores)
        self.count += len(predictions)

    @property
    def missing_walls(self) -> tuple[str, ...] | None:
        """Walls that this system lacks around the code that is run; None where none is run."""
        if self.task != "code" or not self.scorer_options.get("allow_code_execution"):
            return None
        from esft_lightning.scoring.sandbox import missing_walls

        return missing_walls()

    def completions(self, predictions: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What was updated last in the form of the authors' completions, with the reasons where there are any."""
        reasons = [{"reason": reason} for reason in self.last_reasons] or [{}] * len(rows)
        return [
            {"example": {**row, "raw_prediction": prediction}, "score": score, **reason}
            for prediction, row, score, reason in zip(predictions, rows, self.last_scores, reasons, strict=True)
        ]

    def compute(self) -> Tensor:
        """Mean score, float64 scalar; NaN where nothing was scored."""
        return self.total / self.count
