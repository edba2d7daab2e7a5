"""`last.ckpt` is of the last step, whatever validation says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from esft_lightning.training.callbacks.last_and_best import LastAndBestCheckpoint


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


def run(
    folder: Path,
    losses: list[float],
    steps: int,
    every: int = 2,
    resume: str | None = None,
    save_last: Any = True,
    **settings: Any,
):
    callback = LastAndBestCheckpoint(folder, "best", monitor="val/loss", save_last=save_last)
    settings = {"check_val_every_n_epoch": None, "val_check_interval": every} | settings
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, callbacks=[callback], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    validation = None if settings.get("limit_val_batches") == 0 else DataLoader(range(1))  # type: ignore[arg-type]
    trainer.fit(Scripted(losses), DataLoader(range(3)), validation, ckpt_path=resume)  # type: ignore[arg-type]
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


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0], [3.0, 2.0, 1.0]])
def test_so_it_is_where_epochs_are_validated(losses: list[float], tmp_path: Path) -> None:
    best = 3 if losses[0] == 1.0 else 9
    settings = {"check_val_every_n_epoch": 1, "val_check_interval": 1.0}
    assert run(tmp_path, losses, 9, **settings) == {"best": best, "last": 9}
    every_second = {"check_val_every_n_epoch": 2, "val_check_interval": 1.0}
    assert run(tmp_path / "second", [1.0, 2.0], 14, **every_second) == {"best": 6, "last": 14}


def test_a_link_names_the_last_too(tmp_path: Path) -> None:
    assert run(tmp_path, [1.0, 2.0, 3.0, 0.5], 8, save_last="link") == {"best": 8, "last": 8}
    assert run(tmp_path / "worse", [1.0, 2.0, 3.0], 6, save_last="link") == {"best": 2, "last": 6}


def test_a_resumed_run_in_another_folder_knows_what_was_best(tmp_path: Path) -> None:
    assert run(tmp_path / "first", [1.0, 2.0], 4) == {"best": 2, "last": 4}
    resume = str(tmp_path / "first" / "last.ckpt")
    assert run(tmp_path / "worse", [3.0, 4.0], 8, resume=resume) == {"best": 2, "last": 8}, "it is brought along"
    state = torch.load(tmp_path / "worse" / "last.ckpt", weights_only=True)["callbacks"]
    (saved,) = [value for name, value in state.items() if name.startswith("LastAndBest")]
    assert saved["best_model_path"] == str(tmp_path / "worse" / "best.ckpt")
    assert run(tmp_path / "better", [3.0, 0.5], 8, resume=resume) == {"best": 8, "last": 8}
    assert (tmp_path / "first" / "best.ckpt").is_file(), "the run before keeps its own"


def test_a_run_without_validation_keeps_what_is_last_after_every_epoch(tmp_path: Path) -> None:
    assert run(tmp_path / "end", [], 7, limit_val_batches=0) == {"last": 7}
    assert run(tmp_path / "epoch", [], 6, limit_val_batches=0) == {"last": 6}
