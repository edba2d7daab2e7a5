"""A resume with other batches serves each row that is left once; a resume on other data is refused by name."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from esft_lightning.data.loader import PackedLoader
from esft_lightning.data.packing import PackedRows
from esft_lightning.training.resuming import CheckpointError, count_anew, data_identity, go_on_in_data

ROWS = 27


@pytest.fixture(autouse=True)
def signals_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGTERM from outside (a time limit) ends the tests; Lightning's handler would make it a failure of one."""
    monkeypatch.setattr(_SignalConnector, "register_signal_handlers", lambda self: None)


def rows_of(count: int, first: int = 0) -> PackedRows:
    ids = first + np.arange(count * 4, dtype=np.int32).reshape(count, 4)
    number = np.broadcast_to(np.arange(count, dtype=np.int32)[:, None], ids.shape)
    return PackedRows(ids, np.ones(ids.shape, bool), number, np.full(count, 4))


class Rows(LightningDataModule):
    """Packed rows without text."""

    def __init__(self, batch_size: int, count: int = ROWS, first: int = 0, seed: int = 3, validation: int = 0) -> None:
        super().__init__()
        self.batch_size, self.count, self.first, self.seed, self.validation = batch_size, count, first, seed, validation

    def train_dataloader(self) -> PackedLoader:
        rows = rows_of(self.count, self.first)
        return PackedLoader(rows, self.batch_size, pad_id=0, seed=self.seed, shuffle=True)

    def val_dataloader(self) -> PackedLoader:
        return PackedLoader(rows_of(3, self.validation), 2, pad_id=0)


class Recorder(LightningModule):
    """One weight; remembers which rows came in which epoch, and how many micro-batches each step had."""

    def __init__(self, force: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.force = force
        self.epochs: dict[int, list[list[int]]] = {}
        self.windows: list[int] = []
        self._since = 0

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.epochs.setdefault(self.trainer.current_epoch, []).append(batch["row_index"].tolist())
        self._since += 1
        return (self.weight - 1).square().sum()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.windows.append(self._since)
        self._since = 0

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_fit_start(self) -> None:
        self.data = data_identity(self.trainer)

    def on_train_epoch_start(self) -> None:
        count_anew(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["own"] = {"data": self.data, "accumulate_grad_batches": self.trainer.accumulate_grad_batches}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        go_on_in_data(checkpoint, checkpoint["own"], self.trainer, force=self.force)


def fit(folder: Path, data: Rows, *, resume: Path | None = None, accumulate: int = 1, epochs: int = 1, **options: Any):
    module = Recorder(force=options.pop("force", False))
    keep = [
        ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1),
        ModelCheckpoint(folder, "validated-{step}", save_top_k=-1, save_on_train_epoch_end=False),
    ]
    trainer = Trainer(
        max_epochs=epochs, accumulate_grad_batches=accumulate, accelerator="cpu", logger=False, callbacks=keep,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return module


def flat(batches: Iterable[list[int]]) -> list[int]:
    return list(chain(*batches))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """Checkpoints of an epoch in windows of two batches of four (the last window is open: 7 batches), and its rows."""
    folder = tmp_path_factory.mktemp("first")
    module = fit(folder, Rows(4), accumulate=2, check_val_every_n_epoch=None, val_check_interval=2)
    assert module.windows == [2, 2, 2, 1]
    return folder, flat(module.epochs[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 8, 27, 40])
@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_rows_that_are_left_come_once_in_whole_windows_and_the_next_epochs_are_whole(
    batch_size: int, accumulate: int, first: tuple[Path, list[int]], tmp_path: Path
) -> None:
    folder, order = first
    places = {"step=1": 8, "step=2": 16, "validated-step=2": 16, "validated-step=3": 24, "step=4": 27}
    for name, served in places.items():
        module = fit(
            tmp_path, Rows(batch_size), resume=folder / f"{name}.ckpt", accumulate=accumulate, epochs=3,
            check_val_every_n_epoch=None, val_check_interval=2,
        )  # fmt: skip
        left = module.epochs.get(0, [])
        assert flat(left) == order[served:], (name, batch_size, accumulate)
        assert all(len(batch) == batch_size for batch in left[:-1])
        assert [sorted(flat(module.epochs[epoch])) for epoch in (1, 2)] == [list(range(ROWS))] * 2
        windows = list(module.windows)
        for batches in (len(left), -(-ROWS // batch_size), -(-ROWS // batch_size)):
            whole, open_window = divmod(batches, accumulate)
            assert [windows.pop(0) for _ in range(whole)] == [accumulate] * whole
            assert not open_window or windows.pop(0) == open_window
        assert not windows


def test_the_same_batches_go_on_as_they_were(first: tuple[Path, list[int]], tmp_path: Path) -> None:
    folder, order = first
    state = torch.load(folder / "step=2.ckpt", weights_only=True)
    before = repr(state["loops"])
    module = fit(tmp_path, Rows(4), resume=folder / "step=2.ckpt", accumulate=2)
    assert flat(module.epochs[0]) == order[16:]
    go_on_in_data(state, state["own"], module.trainer)
    assert repr(state["loops"]) == before, "nothing is rewritten where nothing changed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first": 1000}, r"data\.first was 0 and is 1000"),
        ({"count": 9}, r"data\.count was 27 and is 9"),
        ({"seed": 4}, r"data\.seed was 3 and is 4"),
        ({"validation": 50}, r"data\.validation was 0 and is 50"),
    ],
)
def test_other_data_are_refused_by_name(
    changes: dict[str, int], said: str, first: tuple[Path, list[int]], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said + ".*force_data"):
        fit(tmp_path, Rows(4, **changes), resume=first[0] / "step=2.ckpt", accumulate=2)


def test_rows_that_changed_under_the_same_settings_are_refused(
    first: tuple[Path, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rows_of(ROWS - 2)
    monkeypatch.setattr(Rows, "train_dataloader", lambda self: PackedLoader(other, 4, pad_id=0, seed=3, shuffle=True))
    with pytest.raises(CheckpointError, match=r"the rows themselves \(27 packed rows were, 25 are there\)"):
        fit(tmp_path, Rows(4), resume=first[0] / "step=2.ckpt", accumulate=2)


def test_forced_other_data_begin_at_their_first_row(first: tuple[Path, list[int]], tmp_path: Path) -> None:
    other = Rows(5, count=13, first=500)
    module = fit(tmp_path, other, resume=first[0] / "step=2.ckpt", accumulate=2, epochs=2, force=True)
    assert [sorted(flat(module.epochs[epoch])) for epoch in (0, 1)] == [list(range(13))] * 2
    assert module.windows == [2, 1, 2, 1]


def test_a_forced_other_order_begins_at_its_first_row(first: tuple[Path, list[int]], tmp_path: Path) -> None:
    module = fit(tmp_path, Rows(4, seed=4), resume=first[0] / "step=2.ckpt", accumulate=2, force=True)
    assert flat(module.epochs[0]) == Rows(4, seed=4).train_dataloader().order(0).tolist()


def test_forced_other_validation_rows_leave_the_place_in_the_training_rows(
    first: tuple[Path, list[int]], tmp_path: Path
) -> None:
    folder, order = first
    module = fit(tmp_path, Rows(4, validation=50), resume=folder / "step=2.ckpt", accumulate=2, force=True)
    assert flat(module.epochs[0]) == order[16:]


def test_a_validation_interval_in_parts_of_an_epoch_follows_its_batches(
    first: tuple[Path, list[int]], tmp_path: Path
) -> None:
    module = fit(tmp_path, Rows(2), resume=first[0] / "step=3.ckpt", epochs=2, val_check_interval=0.5)
    assert module.trainer.num_training_batches == 14 and module.trainer.val_check_batch == 7
