"""More processes than rows: every rank takes part in validation, monitor, profile, test, predict and a resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from places import ROOT, TESTS
from training_runs import make_data, train, write_base, write_rows

from esft_lightning.strategies import ESFTGate, LoRA
from esft_lightning.training.callbacks import AdapterCheckpoint, BudgetReport, RoutingMonitor
from esft_lightning.training.callbacks.last_and_best import LastAndBestCheckpoint
from esft_lightning.training.run_folder import run_folder

_SCRIPT = """
import sys, json
from pathlib import Path
sys.path[:0] = [{tests!r}, {tests!r} + "/training"]
import torch
torch.set_num_threads(1)
from test_empty_ranks import RowSpy, fit_on_few_rows, resume_lora
from training_runs import make_data

folder, base, rows, questions, checkpoint = sys.argv[1:]
module, trainer = fit_on_few_rows(Path(folder), base, rows, devices=2, strategy="ddp")
ran = {{
    "val": float(trainer.callback_metrics["val/loss"]),
    "experts": module.selection.experts,
    "folder": str(trainer.checkpoint_callback.dirpath),
}}
data = make_data(base, rows, test_files=questions)
module.general_ability, module.max_new_tokens, module.answers = False, 3, str(Path(folder, "answers.jsonl"))
ran["test"] = trainer.test(module, datamodule=data, verbose=False)[0]["test/intent/score"]
ran["asked"] = len(module.completions)
ran["predicted"] = sum(len(batch) for batch in trainer.predict(module, datamodule=data))
spy = RowSpy()
resume_lora(Path(folder), base, rows, checkpoint, spy, devices=2, strategy="ddp", data={{"batch_size": 2}})
ran["rows"] = spy.rows
Path(folder, f"rank{{trainer.global_rank}}.json").write_text(json.dumps(ran))
"""


class RowSpy(Callback):
    """The rows of this rank's training batches in the first epoch."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch == 0:
            self.rows.append(batch["row_index"].tolist())


def fit_on_few_rows(folder: Path, base: str, rows: str, **engine):
    """One packed validation row, and an odd number of training rows in batches of two; all callbacks."""
    best = LastAndBestCheckpoint(monitor="val/loss", filename="best", save_last=True)
    module, _, trainer = train(
        folder, base, rows, ESFTGate(), steps=4, logger=TensorBoardLogger(folder, name="mine"),
        enable_checkpointing=True, callbacks=[AdapterCheckpoint(), RoutingMonitor(), BudgetReport(), best],
        data={"batch_size": 2, "profile_sequences": 1}, limit_val_batches=1.0, check_val_every_n_epoch=None,
        val_check_interval=2, **engine,
    )  # fmt: skip
    return module, trainer


def resume_lora(folder: Path, base: str, rows: str, checkpoint: str, spy: RowSpy, **settings) -> None:
    train(folder, base, rows, LoRA(rank=2), steps=40, ckpt_path=checkpoint, callbacks=[spy], **settings)


@pytest.mark.slow
def test_two_processes_with_fewer_rows_than_they_are(tmp_path: Path) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl", 15)
    data = make_data(base, rows)
    data.setup("fit")
    assert len(data.val_dataloader().index) == 1 and (count := len(data.train_dataloader().index)) % 2 == 1
    answer = json.dumps({"intent": "a", "slots": {}})
    (tmp_path / "questions.jsonl").write_text(json.dumps({"prompt": "User: a\n\nAssistant:", "raw_answers": [answer]}))

    first = RowSpy()
    keep = LastAndBestCheckpoint(tmp_path / "ckpt", "{step}", every_n_train_steps=1, save_top_k=-1)
    train(
        tmp_path / "first", base, rows, LoRA(rank=2), steps=1, enable_checkpointing=True, callbacks=[first, keep],
        data={"batch_size": 3},
    )  # fmt: skip
    script = tmp_path / "two.py"
    script.write_text(_SCRIPT.format(tests=str(TESTS)))
    (tmp_path / "two").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two"), base, rows, str(tmp_path / "questions.jsonl"),
         str(tmp_path / "ckpt" / "step=1.ckpt")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    ranks = [json.loads((tmp_path / "two" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    module, trainer = fit_on_few_rows(tmp_path / "one", base, rows)
    for ran in ranks:
        assert ran["val"] == pytest.approx(float(trainer.callback_metrics["val/loss"]), abs=1e-5)
        assert {int(layer): ids for layer, ids in ran["experts"].items()} == module.selection.experts
        assert ran["folder"] == str(tmp_path / "two" / "mine" / "version_0" / "checkpoints")
        assert ran["test"] == 0.0
    assert [(ran["asked"], ran["predicted"]) for ran in ranks] == [(1, 1), (0, 0)]
    assert {path.name for path in (tmp_path / "two" / "mine").iterdir()} == {"version_0"}
    wanted = {path.name for path in run_folder(trainer).iterdir() if not path.name.startswith("events")}
    assert wanted == {
        path.name for path in (tmp_path / "two/mine/version_0").iterdir() if not path.name.startswith("events")
    }
    # Behind a batch of three of one process, two processes serve each row that is left once.
    left = sorted(row for ran in ranks for batch in ran["rows"] for row in batch)
    assert sorted([*first.rows[0], *left]) == list(range(count)) and len(first.rows) == 1
