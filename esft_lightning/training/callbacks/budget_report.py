"""What is trained, said before training: a table by part of the model, and the run's hyper-parameters."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table

from esft_lightning.moe.weight_updates import described
from esft_lightning.strategies import training_table
from esft_lightning.training.callbacks.fine_tuner import fine_tuner
from esft_lightning.training.module import ExpertFineTuner

_MEASURED = ("train/loss", "val/loss", "val/token_accuracy")


class BudgetReport(Callback):
    """Prints what is trained by group, logs its size, and fills TensorBoard's HPARAMS tab."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that is not ExpertFineTuner."""
        fine_tuner(self, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report; the strategy has been applied by now."""
        module = fine_tuner(self, pl_module)
        if not module.installed:
            return
        rows = training_table(module.model)
        total, trained = sum(row.total for row in rows), sum(row.trained for row in rows)
        if not trainer.is_global_zero:
            return
        if trainer.progress_bar_callback is not None:
            kept = f"kept {described(module.weight_updates)}"
            Console().print(budget_table(module.strategy.name, rows, kept))
        for logger in trainer.loggers:
            logger.log_metrics(
                {"trained_parameters": float(trained), "trained_share": trained / max(total, 1)}, trainer.global_step
            )
        settings = hyper_parameters(module, trainer, trained)
        _fill_hparams(trainer, settings)
        further = {name: value for name, value in settings.items() if name not in module.hparams}
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(further)


def budget_table(title: str, rows: Any, caption: str | None = None) -> Table:
    """The table of what is trained.

    Args:
        title: The strategy's name.
        rows: As `esft_lightning.strategies.training_table` returns them.
        caption: What stands below it.

    Returns:
        A rich table: group, parameters, trained, share.
    """
    table = Table(title=f"{title} trains", caption=caption)
    for column, justify in (("group", "left"), ("parameters", "right"), ("trained", "right"), ("share", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        share = f"{row.trained / row.total:.2%}" if row.total and row.trained else "–"
        table.add_row(row.group, f"{row.total:,}", f"{row.trained:,}" if row.trained else "–", share)
    total, trained = sum(row.total for row in rows), sum(row.trained for row in rows)
    table.add_section()
    table.add_row("all", f"{total:,}", f"{trained:,}", f"{trained / max(total, 1):.2%}")
    return table


def hyper_parameters(module: ExpertFineTuner, trainer: Trainer, trained: int) -> dict[str, Any]:
    """The settings that tell runs apart, flat, as strings and numbers."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    settings = {
        "strategy": module.strategy.name,
        "task": getattr(data, "task", "–"),
        "base": module.base,
        "learning_rate": module.learning_rate,
        "weight_updates": module.weight_updates,
        "weight_decay": module.weight_decay,
        "batch_size": getattr(data, "batch_size", 0),
        "sequence_length": getattr(data, "sequence_length", 0),
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "max_steps": trainer.max_steps,
        "trained_parameters": trained,
    }
    for key, value in vars(module.strategy).items():
        if isinstance(value, bool | int | float | str) and key != "learning_rate":
            settings[f"strategy/{key}"] = value
    return settings


def _fill_hparams(trainer: Trainer, settings: dict[str, Any]) -> None:
    """Name the metrics that the HPARAMS tab shows without logging a value for them, so that curves stay as they are."""
    from torch.utils.tensorboard.summary import hparams

    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            writer = logger.experiment._get_file_writer()
            for summary in hparams(settings, dict.fromkeys(_MEASURED, 0)):
                writer.add_summary(summary)
