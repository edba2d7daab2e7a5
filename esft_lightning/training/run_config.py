"""The configuration that a run was started with, in the run's folder."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from esft_lightning.storage import atomic_write
from esft_lightning.training.run_folder import run_folder


class RunConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run's folder; another verb that joins a run writes its own beside it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, once."""
        if self.already_saved:
            return
        folder = run_folder(trainer)
        if trainer.is_global_zero:
            path = folder / self.config_filename
            if path.exists():
                verb = trainer.state.fn.value if trainer.state.fn is not None else "again"
                path = path.with_stem(f"{path.stem}_{verb}")
            atomic_write(path, self.parser.dump(self.config, skip_none=False).encode())
        self.already_saved = True
