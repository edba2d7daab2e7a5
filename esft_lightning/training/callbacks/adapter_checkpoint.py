"""An adapter folder at every best validation and at the end: what a user keeps of a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from esft_lightning.errors import SettingError
from esft_lightning.storage import whole_folder
from esft_lightning.training.callbacks.best_validation import BestValidation
from esft_lightning.training.callbacks.fine_tuner import fine_tuner
from esft_lightning.training.run_folder import run_folder

if TYPE_CHECKING:
    from esft_lightning.adapters.folder import AdapterDtype
    from esft_lightning.training.module import ExpertFineTuner


class AdapterCheckpoint(Callback):
    """Writes `adapter/` when training ends and `adapter_best/` at every best validation.

    Both lie in the run's folder and load onto the base without this library's Trainer
    (`esft_lightning.adapters.load_adapter`).

    Attributes:
        best: The best validation so far, kept in checkpoints.
    """

    def __init__(
        self,
        save_best: bool = True,
        save_last: bool = True,
        dirpath: str | None = None,
        dtype: Literal["base", "float32"] = "base",
    ) -> None:
        """Set what is written.

        Args:
            save_best: Write `adapter_best` at each new best validation: the highest `val/score` with
                `ValidationScore` among the callbacks, else the lowest `val/loss`.
            save_last: Write `adapter` when training ends.
            dirpath: Folder that gets both; none takes the run's folder.
            dtype: Dtype of the weights in it: the base's, as forwards read them, or the float32 that they were trained
                in. Low-rank factors are float32 either way.
        """
        self.save_best = save_best
        self.save_last = save_last
        self.dirpath = dirpath
        self.dtype: Literal["base", "float32"] = dtype
        self.best = BestValidation()
        self._best_folder: str | None = None  # where the best adapter lies
        self._ended = False  # whether this fit has written what it leaves at its end

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that is not ExpertFineTuner, and a file in the place of the folder.

        Raises:
            SettingError: For either.
        """
        fine_tuner(self, pl_module)
        self._ended = False
        if self.dirpath is not None and Path(self.dirpath).is_file():
            raise SettingError(f"adapter.dirpath {self.dirpath} is a file; expected a folder, which need not be there")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring along the best adapter of the run that is resumed: this run's best until a better one."""
        came_from, self._best_folder = self._best_folder, None
        if not self.save_best or came_from is None or self.best.value is None:
            return
        folder = self._place(trainer, "adapter_best")
        if trainer.is_global_zero and Path(came_from).is_dir() and not folder.exists():
            with whole_folder(folder) as temporary:
                shutil.copytree(came_from, temporary, dirs_exist_ok=True)
        self._best_folder = str(folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `adapter_best` if this validation was the best."""
        if not self.save_best or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.best.improves(trainer.callback_metrics, trainer.callbacks):  # type: ignore[attr-defined]
            self._write(trainer, pl_module, "adapter_best")
            self._best_folder = str(self._place(trainer, "adapter_best"))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `adapter`."""
        if self.save_last:
            folder = self._write(trainer, pl_module, "adapter")
            rank_zero_info(f"Adapter written: {folder}")
        self._ended = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `adapter` where the checkpoint left nothing to train: Lightning ends no training that never began."""
        if not self._ended:
            self.on_train_start(trainer, pl_module)
            rank_zero_info(f"Nothing is left to train: the checkpoint is at step {trainer.global_step}")
            self.on_train_end(trainer, pl_module)

    def _place(self, trainer: Trainer, name: str) -> Path:
        return Path(self.dirpath or run_folder(trainer)) / name

    def _write(self, trainer: Trainer, pl_module: LightningModule, name: str) -> Path | None:
        module = fine_tuner(self, pl_module)
        folder = self._place(trainer, name)
        if not trainer.is_global_zero:
            return None
        data_fingerprint = getattr(trainer.datamodule, "data_fingerprint", None)  # type: ignore[attr-defined]
        return save_adapter_of(module, folder, data_fingerprint=data_fingerprint, dtype=self.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The best validation's score or loss, and where its adapter lies."""
        return {"best": self.best.value, "best_folder": self._best_folder}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best validation of the run that is resumed."""
        self.best.value, self._best_folder = state_dict["best"], state_dict.get("best_folder")


def save_adapter_of(
    module: ExpertFineTuner, folder: Path, *, data_fingerprint: str | None, dtype: AdapterDtype = "base"
) -> Path:
    """Write what a module trained as an adapter folder.

    Args:
        module: Its base loaded and what was trained in place.
        folder: Where to write.
        data_fingerprint: Fingerprint of the training rows, for the record.
        dtype: Dtype of the weights.

    Returns:
        The folder.
    """
    from esft_lightning.adapters import save_adapter

    return save_adapter(
        module.model,
        folder,
        strategy=module.strategy.name,
        base=module.base,
        base_fingerprint=module.base_fingerprint,
        selection=module.selection,
        profile=module.profile_record,
        data_fingerprint=data_fingerprint,
        dtype=dtype,
    )
