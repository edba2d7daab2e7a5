"""`last` and `best` name a checkpoint of the last run like this one, or are refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from esft_lightning.errors import UserError
from esft_lightning.training.last_run import find_checkpoint

RUN = {"strategy": "LoRA", "base": "tiny", "task": "law"}


def leave_run(folder: Path, started: int, *names: str, best: str = "", **changes: Any) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    record = {"verb": "fit", **RUN, "started": f"2025-01-01T00:00:{started:02}", **changes}
    (folder / "run.json").write_text(json.dumps(record))
    for number, name in enumerate(names):
        path = folder / "checkpoints" / name
        state = {"callbacks": {"LastAndBestCheckpoint{…}": {"best_model_path": best}, "Other": 3}}
        torch.save(state, path)
        os.utime(path, (100 * started + number,) * 2)


def trainer_of(root: Path, **settings: Any) -> Trainer:
    return Trainer(default_root_dir=root, accelerator="cpu", logger=False, enable_progress_bar=False, **settings)


def test_the_newest_checkpoint_of_the_last_run_of_task_strategy_and_base(tmp_path: Path) -> None:
    leave_run(tmp_path / "law/LoRA/version_9", 10, "best.ckpt", "last.ckpt")
    leave_run(tmp_path / "mine/anywhere", 20, "best.ckpt", "last.ckpt", "terminated.ckpt")
    leave_run(tmp_path / "law/LoRA/version_10", 30)  # it left no checkpoint
    for number, change in enumerate([{"strategy": "ESFTGate"}, {"task": "intent"}, {"base": "other"}]):
        leave_run(tmp_path / f"others/version_{number}", 40, "last.ckpt", **change)
    (tmp_path / "run.json").write_text("not ours")
    found = find_checkpoint("last", trainer_of(tmp_path), **RUN)
    assert found == tmp_path / "mine/anywhere/checkpoints/terminated.ckpt"


def test_best_is_what_the_run_says_even_where_it_was_moved(tmp_path: Path) -> None:
    leave_run(tmp_path / "a", 10, "step=3.ckpt", "step=7.ckpt", "last.ckpt", best="/gone/checkpoints/step=3.ckpt")
    assert find_checkpoint("best", trainer_of(tmp_path), **RUN).name == "step=3.ckpt"
    leave_run(tmp_path / "resumed", 15, "last.ckpt", best=str(tmp_path / "a" / "checkpoints" / "step=7.ckpt"))
    assert find_checkpoint("best", trainer_of(tmp_path), **RUN) == tmp_path / "a/checkpoints/step=7.ckpt"
    leave_run(tmp_path / "b", 20, "last.ckpt")
    with pytest.raises(UserError, match=r"b/checkpoints holds no best checkpoint"):
        find_checkpoint("best", trainer_of(tmp_path), **RUN)


@pytest.mark.parametrize("which", ["last", "best"])
def test_without_such_a_run_it_is_refused(which: Any, tmp_path: Path) -> None:
    leave_run(tmp_path / "a", 10, "last.ckpt", strategy="ESFTGate")
    with pytest.raises(UserError, match=rf"ckpt_path={which}: no run of law with LoRA on tiny below {tmp_path}"):
        find_checkpoint(which, trainer_of(tmp_path), **RUN)


def test_it_looks_where_logger_and_checkpoint_callback_write(tmp_path: Path) -> None:
    leave_run(tmp_path / "logs/a", 10, "last.ckpt")
    trainer = trainer_of(tmp_path)
    trainer.loggers = [TensorBoardLogger(tmp_path / "logs")]
    assert find_checkpoint("last", trainer, **RUN) == tmp_path / "logs/a/checkpoints/last.ckpt"
    elsewhere = trainer_of(tmp_path, callbacks=[ModelCheckpoint(tmp_path / "mine")])
    with pytest.raises(UserError, match=rf"no run in {tmp_path / 'mine'} left"):
        find_checkpoint("last", elsewhere, **RUN)
    (tmp_path / "mine").mkdir()
    torch.save({}, tmp_path / "mine" / "last.ckpt")
    assert find_checkpoint("last", elsewhere, **RUN) == tmp_path / "mine/last.ckpt"
