"""`last.ckpt` is of the last step, whatever validation says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from esft_lightning.callbacks.last_and_best import LastAndBestCheckpoint


class Scripted(LightningModule):
    """One weight, and validation losses as they are given."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.losses = list(losses)
        self.last_steps: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.weight - 1).square().sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.losses.pop(0))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(folder: Path, losses: list[float], steps: int, every: int = 2, **settings: Any) -> dict[str, int]:
    callback = LastAndBestCheckpoint(folder, "best", monitor="val/loss", save_last=True)
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, check_val_every_n_epoch=None, val_check_interval=every, callbacks=[callback],
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    validation = None if settings.get("limit_val_batches") == 0 else DataLoader(range(1))  # type: ignore[arg-type]
    trainer.fit(Scripted(losses), DataLoader(range(3)), validation)  # type: ignore[arg-type]
    return {path.stem: torch.load(path, weights_only=True)["global_step"] for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("losses", "best"),
    [([1.0, 2.0, 3.0], 2), ([1.0, float("nan"), float("nan")], 2), ([float("nan")] * 3, 2), ([3.0, 2.0, 1.0], 6)],
)
@pytest.mark.parametrize("steps", [6, 7])
def test_last_is_the_last_and_best_the_best(losses: list[float], best: int, steps: int, tmp_path: Path) -> None:
    assert run(tmp_path, losses, steps) == {"best": best, "last": steps}


def test_last_is_written_at_every_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    save = LastAndBestCheckpoint._save_last_checkpoint

    def note(self: Any, trainer: Trainer, candidates: Any) -> None:
        written.append(trainer.global_step)
        save(self, trainer, candidates)

    monkeypatch.setattr(LastAndBestCheckpoint, "_save_last_checkpoint", note)
    run(tmp_path, [1.0, 2.0, float("nan")], 6)
    assert written == [2, 4, 6]


def test_a_run_without_validation_keeps_what_is_last_after_every_epoch(tmp_path: Path) -> None:
    assert run(tmp_path / "end", [], 7, limit_val_batches=0) == {"last": 7}
    assert run(tmp_path / "epoch", [], 6, limit_val_batches=0) == {"last": 6}
