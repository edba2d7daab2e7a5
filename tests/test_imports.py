"""What each verb imports to do its work: only what it needs, listed verb by verb."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hand_made_results import finished
from places import ROOT
from trained_adapters import STRATEGIES, save_trained
from training_runs import write_base, write_rows

from esft_lightning import __main__ as entry
from esft_lightning.moe import load_model

HEAVY = (
    "torch", "transformers", "lightning", "torchmetrics", "peft", "datasets", "jsonargparse", "scipy", "pandas",
    "matplotlib", "lm_eval", "openai", "bitsandbytes",
)  # fmt: skip
# What others bring along: transformers its losses (scipy), torchmetrics its plots (matplotlib).
MODEL = {"torch", "transformers", "scipy"}
TRAINING = {*MODEL, "lightning", "torchmetrics", "matplotlib", "jsonargparse"}

LORA = {"peft", "bitsandbytes"}  # peft imports the other one where it is installed

# Verb → the heavy packages that it imports to do its work; peft only where there is LoRA.
NEEDS: dict[str, set[str]] = {
    "--help": set(),
    "--version": set(),
    "select": set(),
    "score": set(),
    "report": {"matplotlib"},
    "compare": set(),
    "budget": MODEL,
    "adapter": TRAINING - {"jsonargparse"},
    "merge": MODEL,
    "export": MODEL,
    "import": MODEL,
    "evaluate": {*MODEL, "lm_eval", "datasets", "pandas"},
    **dict.fromkeys(("fit", "validate", "test", "predict", "profile"), TRAINING),
}
_PROGRAM = """
import json, sys
from esft_lightning.__main__ import main
seen = sys.argv[1]
try: code = main(sys.argv[2:])
except SystemExit as left: code = left.code
with open(seen, "w") as file:
    json.dump({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}, file)
"""


def imported(folder: Path, *arguments: str) -> set[str]:
    """The heavy packages that a run of the command has imported, when it is done."""
    seen = folder / "seen.json"
    command = [sys.executable, "-c", _PROGRAM, str(seen), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert seen.exists(), done.stderr
    found = json.loads(seen.read_text())
    assert not found["code"], done.stderr
    return set(HEAVY) & set(found["modules"])


def test_every_verb_is_listed() -> None:
    assert {*entry._COMMANDS, *entry._LIGHTNING_VERBS} == {verb for verb in NEEDS if not verb.startswith("--")}


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_overviews(flag: str, tmp_path: Path) -> None:
    assert imported(tmp_path, flag) == NEEDS[flag]


def test_select(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "log.npz",
        expert_ids=generator.random((2, 40, 8)).argsort(-1)[..., :2].astype(np.uint8),
        gate_weights=generator.random((2, 40, 2)).astype(np.float32),
        sample_lengths=np.array([10, 30]),
    )
    command = ["select", "--routing-log", "log.npz", "--score", "token", "--top-p", "0.2", "--output", "cfg.json"]
    assert imported(tmp_path, *command) == NEEDS["select"]


def test_score(tmp_path: Path) -> None:
    rows = [
        {"prediction": json.dumps({"intent": intent, "slots": {}}), "raw_answers": ['{"intent": "a", "slots": {}}']}
        for intent in ("a", "b", "a")
    ]
    recorded = [{"example": row, "score": score} for row, score in zip(rows, (1.0, 0.0, 1.0), strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in recorded))
    assert imported(tmp_path, "score", "--task", "intent", "--completions", "rows.jsonl") == NEEDS["score"]


def test_report(tmp_path: Path) -> None:
    for strategy in ("base", "LoRA"):
        folder = tmp_path / "runs" / strategy
        folder.mkdir(parents=True)
        finished("law", strategy, score=50, general=50).save(folder)
    assert imported(tmp_path, "report", "runs") == NEEDS["report"]
    assert (tmp_path / "runs" / "report.html").is_file()


def test_compare_says_what_it_would_run(tmp_path: Path) -> None:
    assert imported(tmp_path, "compare", "--plan") == NEEDS["compare"]


def test_export_import_merge(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    model = load_model(base, dtype="float32", random_weights=True)
    model.save_pretrained(tmp_path / "base")
    save_trained(tmp_path / "adapter", STRATEGIES["esft"], load_model(base), name=base)
    commands = {
        "export": ["--adapter", "adapter", "--output", "official"],
        "import": ["--source", "official", "--base", base, "--output", "again"],
        "merge": ["--adapter", "again", "--output", "merged"],
    }
    for verb, arguments in commands.items():
        assert imported(tmp_path, verb, *arguments) == NEEDS[verb], verb


def test_budget(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    assert imported(tmp_path, "budget", "--model", base, "--parameters-only") == {*NEEDS["budget"], *LORA}


def test_evaluate(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    command = ["evaluate", "--base", "tiny", "--tasks", "esft_continuation", "--limit", "2", "--output", "out"]
    assert imported(tmp_path, *command) == NEEDS["evaluate"]


@pytest.mark.parametrize("verb", ["fit", "profile"])
def test_verbs_of_lightning(verb: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    arguments = {
        "data": "IntentDataModule", "data.source": "files", "data.train_files": write_rows(tmp_path / "rows.jsonl"),
        "data.sequence_length": "64", "model.base": base, "model.random_weights": "true", "model.dtype": "float32",
        "model.strategy": "ESFTGate", "trainer.accelerator": "cpu", "trainer.devices": "1", "trainer.max_steps": "1",
        "trainer.val_check_interval": "1", "affinity.token_budget": "64",
    }  # fmt: skip
    assert imported(tmp_path, verb, *(f"--{name}={value}" for name, value in arguments.items())) == NEEDS[verb]
