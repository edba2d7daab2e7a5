"""fp32 masters of a bf16 base, trained in place, under every engine: the losses and weights of a single device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT
from training_runs import train, trained_values, write_base, write_rows

from esft_lightning.moe import load_model
from esft_lightning.strategies import FrozenExperts, trained_parameters

STEPS = 3
SETTINGS: dict[str, Any] = {"steps": STEPS, "gradient_clip_val": 0.1}
_SCRIPT = """
import sys, json
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
import torch
torch.set_num_threads(1)
from test_masters_in_engines import SETTINGS
from training_runs import train
from esft_lightning.strategies import FrozenExperts, trained_parameters

folder, base, rows, engine = sys.argv[1:]
module, losses, trainer = train(
    Path(folder), base, rows, FrozenExperts(), devices=2, strategy=engine, accumulate_grad_batches=2,
    data={{"batch_size": 2, "val_batch_size": 2}}, module={{"random_weights": False, "dtype": "auto"}}, **SETTINGS,
)
Path(folder, f"rank{{trainer.global_rank}}.json").write_text(json.dumps({{
    "losses": losses, "dtypes": sorted({{str(p.dtype) for p in trained_parameters(module.model).values()}}),
    "weights": {{n: v.double().sum().item() for n, v in module.state_dict().items()}},
}}))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_base(tmp_path_factory.mktemp("base"))
    load_model(folder, dtype="bfloat16", random_weights=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def alone(folder: Path, base: str, rows: str, **settings: Any) -> Any:
    module = {"random_weights": False, "dtype": "auto", **settings.pop("module", {})}
    return train(folder, base, rows, FrozenExperts(), module=module, **SETTINGS, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "sharded_base"])
def test_two_processes(engine: str, base: str, rows: str, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(_SCRIPT.format(tests=str(ROOT / "tests"), here=str(Path(__file__).parent)))
    (tmp_path / "two").mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "two"), base, rows, engine],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    module, losses, _ = alone(
        tmp_path / "one", base, rows, accumulate_grad_batches=2, data={"batch_size": 2, "val_batch_size": 2}
    )
    wanted = {name: value.double().sum().item() for name, value in trained_values(module).items()}
    for rank in (0, 1):
        seen = json.loads((tmp_path / "two" / f"rank{rank}.json").read_text())
        assert seen["dtypes"] == ["torch.float32"]
        for step, loss in seen["losses"].items():
            assert loss == pytest.approx(losses[int(step)], rel=5e-3)
        assert seen["weights"].keys() == wanted.keys()
        assert all(seen["weights"][name] == pytest.approx(value, rel=0.02, abs=0.05) for name, value in wanted.items())


def test_layers_in_several_places(base: str, rows: str, tmp_path: Path) -> None:
    devices = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    devices |= {f"model.layers.{layer}": "cpu" for layer in range(3)}
    _, losses, _ = alone(tmp_path / "one", base, rows)
    module, split, trainer = alone(
        tmp_path / "two", base, rows, strategy="split_layers", module={"device_map": devices}
    )
    assert type(trainer.strategy).__name__ == "SplitLayersStrategy" and split == losses
    assert {parameter.dtype for parameter in trained_parameters(module.model).values()} == {torch.float32}
