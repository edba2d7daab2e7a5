"""Two processes that share the frozen weights against one that holds them all: the same losses, weights and adapter."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from places import ROOT
from training_runs import make_data, make_module, make_trainer, train, write_base, write_rows

from esft_lightning.adapters import load_adapter
from esft_lightning.strategies import ESFTGate, ESFTToken, FullFineTuning, LoRA
from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler

_SCRIPT = """
import sys, json
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.tensor import DTensor
from training_runs import train
from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler
from esft_lightning.training.engines import ShardedBaseStrategy
from esft_lightning.strategies import ESFTGate, LoRA

held = {{}}


class Held(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        for name, parameter in pl_module.model.named_parameters():
            local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
            held[name] = [local.numel(), parameter.numel(), parameter.requires_grad]


folder, base, rows, name, steps, checkpoint = sys.argv[1:]
strategy = ESFTGate() if name == "esft" else LoRA()
module, losses, trainer = train(
    Path(folder), base, rows, strategy, steps=int(steps), devices=2, strategy=ShardedBaseStrategy(),
    accumulate_grad_batches=2, data={{"batch_size": 3, "val_batch_size": 4}},
    module={{"gradient_checkpointing": True}}, ckpt_path=checkpoint or None,
    limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=2, enable_checkpointing=True,
    callbacks=[
        Held(), AdapterCheckpoint(save_best=False), ExpertAffinityProfiler(cache_dir=folder + "/profiles"),
        ModelCheckpoint(folder + "/checkpoints", save_last=True, every_n_train_steps=3, save_top_k=0),
    ],
)
Path(folder, f"rank{{trainer.global_rank}}.json").write_text(json.dumps({{
    "losses": losses, "val": float(trainer.callback_metrics["val/loss"]), "held": held,
    "weights": {{n: v.double().sum().item() for n, v in module.state_dict().items()}},
}}))
"""


def on_two(folder: Path, base: str, rows: str, name: str, steps: int, checkpoint: str = "") -> list[dict]:
    script = folder / "two.py"
    script.write_text(_SCRIPT.format(tests=str(ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, str(script), str(folder), base, rows, name, str(steps), checkpoint],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def profiled(folder: Path, base: str, rows: str) -> None:
    """Leave the profile that `fit` will find, as the verb `profile` does."""
    module, data = make_module(base, ESFTGate()), make_data(base, rows, batch_size=3, val_batch_size=4)
    trainer = make_trainer(folder)
    trainer.strategy.connect(module)
    trainer._data_connector.attach_data(module, datamodule=data)
    data.prepare_data()
    data.setup("fit")
    module.load_base()
    ExpertAffinityProfiler(cache_dir=str(folder / "profiles")).measure(trainer, module)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["esft", "lora"])
def test_two_processes_learn_as_one_and_each_holds_half_of_what_is_frozen(name: str, tmp_path: Path) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        profiled(tmp_path / place, base, rows)
    ranks = on_two(tmp_path / "two", base, rows, name, steps=5)
    module, losses, trainer = train(
        tmp_path / "one", base, rows, ESFTGate() if name == "esft" else LoRA(), steps=5, accumulate_grad_batches=2,
        data={"batch_size": 3, "val_batch_size": 4}, limit_val_batches=1.0, check_val_every_n_epoch=None,
        val_check_interval=2, callbacks=[AdapterCheckpoint(save_best=False)],
    )  # fmt: skip
    for rank in ranks:
        assert {int(step) for step in rank["losses"]} == set(losses) == set(range(1, 6))
        for step, loss in rank["losses"].items():
            assert loss == pytest.approx(losses[int(step)], abs=1e-5)
        assert rank["val"] == pytest.approx(float(trainer.callback_metrics["val/loss"]), abs=1e-5)
        for key, value in module.state_dict().items():
            assert rank["weights"][key] == pytest.approx(value.double().sum().item(), abs=1e-3)
    for key, (mine, whole, is_trained) in ranks[0]["held"].items():
        if is_trained or key.startswith("lm_head"):
            assert mine == whole, key
        else:
            assert mine + ranks[1]["held"][key][0] == whole, key
            assert whole < 8 or mine < whole, key

    if name == "esft":  # what is saved is a single device's: an adapter for any base, a checkpoint to go on from
        fresh = make_module(base, ESFTGate()).load_base()
        (adapter,) = {path.parent for path in (tmp_path / "two").rglob("adapter_config.json")}
        load_adapter(fresh, adapter)
        resumed = on_two(tmp_path / "two", base, rows, name, 5, str(tmp_path / "two/checkpoints/last.ckpt"))
        for step, loss in resumed[0]["losses"].items():
            assert loss == ranks[0]["losses"][step]
        assert set(resumed[0]["losses"]) == {"4", "5"}


@pytest.fixture
def group_of_its_own() -> Iterator[None]:
    """Afterwards takes the process group down, and its address out of the environment, which processes inherit."""
    before = dict(os.environ)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.mark.usefixtures("group_of_its_own")
def test_refuses_to_profile_to_test_and_to_shard_nothing(tmp_path: Path) -> None:
    from esft_lightning.training.engines import ShardedBaseStrategy
    from esft_lightning.training.engines.sharded_base import shard_frozen

    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    trainer = make_trainer(tmp_path, strategy=ShardedBaseStrategy(), max_steps=1)
    with pytest.raises(MisconfigurationException, match=r"run `python -m esft_lightning profile`"):
        trainer.fit(make_module(base, ESFTToken()), datamodule=make_data(base, rows))
    model = FullFineTuning().apply(make_module(base, FullFineTuning()).load_base())
    with pytest.raises(MisconfigurationException, match=r"everything in .* is trained"):
        shard_frozen(model, trainer.strategy.root_device, 1)
