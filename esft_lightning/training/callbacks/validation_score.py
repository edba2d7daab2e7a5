"""The task's score on validation rows, at every validation: what weights, rate and length can be chosen by."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from esft_lightning.errors import SettingError
from esft_lightning.tasks import TaskScore
from esft_lightning.training.callbacks.fine_tuner import fine_tuner


class ValidationScore(Callback):
    """Answers validation rows as `test` answers its own, and logs their mean score as `val/score`, in [0, 1].

    The lowest validation loss need not belong to the best answers: a model may grow too sure of its few mistakes while
    it makes fewer. With this callback `best.ckpt` and `adapter_best` are those of the best answers. Generating them
    takes time at every validation.

    Attributes:
        rows: Validation rows that are asked, the first ones; None for all.
        scores: Pairs of optimizer steps and score, one for each validation of this process.
    """

    def __init__(self, rows: int | None = 200) -> None:
        """Set how many rows are asked.

        Args:
            rows: Validation rows at every validation; None for all.

        Raises:
            SettingError: If there is not at least one.
        """
        if rows is not None and rows < 1:
            raise SettingError(f"ValidationScore: rows must be at least 1, got {rows}; leave the callback out instead")
        self.rows = rows
        self.scores: list[tuple[int, float]] = []
        self._metric: TaskScore | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot be scored, before anything is trained.

        Raises:
            SettingError: The DataModule has no task, or none of its validation rows is a question with one answer.
        """
        if stage not in ("fit", "validate"):
            return
        module, data = fine_tuner(self, pl_module), trainer.datamodule  # type: ignore[attr-defined]
        task = getattr(data, "task", "")
        if not task:
            raise SettingError(
                f"ValidationScore needs a DataModule of a task, not {type(data).__name__}: leave the callback out"
            )
        metric, samples = module.new_task_score(task), data.validation_sample_loader(1).samples
        try:
            metric.update([""] * len(samples), samples)
        except (ValueError, KeyError) as error:
            raise SettingError(f"ValidationScore: the validation rows of {task} cannot be scored: {error}") from error
        metric.reset()
        self._metric = metric

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generate, score and log."""
        module, metric = fine_tuner(self, pl_module), self._metric
        if trainer.sanity_checking or metric is None:
            return
        metric.to(module.device)
        for batch in trainer.datamodule.validation_sample_loader(self.rows):  # type: ignore[attr-defined]
            metric.update(module.generate(batch["prompt_ids"]), batch["samples"])
        score = metric.compute()
        metric.reset()
        self.scores.append((trainer.global_step, round(float(score), 6)))
        module.log("val/score", score.float(), prog_bar=True, sync_dist=True)  # the same on every rank
