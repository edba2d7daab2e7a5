"""Two processes (DDP over gloo) against one: the same selection, and the same losses for the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT, TESTS
from training_runs import train, write_base, write_rows

from esft_lightning.affinity import ExpertSelection
from esft_lightning.strategies import ESFTGate

_SCRIPT = """
import sys, json, os
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from training_runs import train
from esft_lightning.strategies import ESFTGate

from lightning.pytorch import Callback

wrapped = set()


class Wrapper(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        wrapped.add(type(trainer.strategy.model).__name__)


folder, base, rows, batch, accumulate = sys.argv[1:]
module, losses, trainer = train(
    Path(folder), base, rows, ESFTGate(), steps=7, devices=2, strategy="ddp", callbacks=[Wrapper()],
    accumulate_grad_batches=int(accumulate), data={{"batch_size": int(batch), "val_batch_size": 4}},
    limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=7,
)
Path(folder, f"rank{{trainer.global_rank}}.json").write_text(json.dumps(
    {{"losses": losses, "experts": module.selection.experts, "val": float(trainer.callback_metrics["val/loss"]),
      "wrapped": sorted(wrapped), "weights": {{n: v.double().sum().item() for n, v in module.state_dict().items()}}}}
))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "accumulate"), [(3, 2)])
def test_two_processes_select_and_learn_as_one(batch: int, accumulate: int, tmp_path: Path) -> None:
    # A batch of 3 leaves one process with one row and the other with two: labelled tokens differ between ranks.
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    script = tmp_path / "two.py"
    script.write_text(_SCRIPT.format(tests=str(TESTS)))
    (tmp_path / "two").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two"), base, rows, str(batch), str(accumulate)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    module, losses, trainer = train(
        tmp_path / "one", base, rows, ESFTGate(), steps=7, accumulate_grad_batches=accumulate,
        data={"batch_size": batch, "val_batch_size": 4},
        limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=7,
    )  # fmt: skip
    assert isinstance(module.selection, ExpertSelection)
    for rank in (0, 1):
        result = json.loads((tmp_path / "two" / f"rank{rank}.json").read_text())
        assert result["wrapped"] == ["DistributedDataParallel"]
        assert {int(layer): ids for layer, ids in result["experts"].items()} == module.selection.experts
        assert {int(step) for step in result["losses"]} == set(losses) == set(range(1, 8))
        for step, loss in result["losses"].items():
            assert loss == pytest.approx(losses[int(step)], abs=1e-5)
        assert result["val"] == pytest.approx(float(trainer.callback_metrics["val/loss"]), abs=1e-5)
        for name, value in module.state_dict().items():
            assert result["weights"][name] == pytest.approx(value.double().sum().item(), abs=1e-3)
