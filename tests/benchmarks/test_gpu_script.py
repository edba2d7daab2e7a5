"""The script for a GPU, on a CPU: every part runs, and receipt and page say what became of each."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT

import esft_lightning.training.module  # noqa: F401  (for processes that are forked here)
from benchmarks.gpu import runner
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.page import write_page
from benchmarks.gpu.part import PARTS, Context, Outcome, Part, SkippedError
from benchmarks.gpu.scale import SCALES

LONG = ("pretraining", "compare")  # they make rows and processes of their own


def run_script(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    receipt = tmp_path / "gpu.json"
    code = main(["--device", "cpu", "--scale", "least", "--receipt", str(receipt), *arguments])
    return code, json.loads(receipt.read_text()), receipt.with_suffix(".md").read_text()


def test_every_part_but_the_long_ones_on_a_cpu(tmp_path: Path) -> None:
    names = [part.name for part in PARTS if part.name not in LONG]
    code, receipt, page = run_script(tmp_path, "--only", *names)
    failed = {name: result.get("reason") for name, result in receipt["parts"].items() if result["status"] != "passed"}
    assert (code, failed) == (0, {})
    assert list(receipt["parts"]) == names
    parts = receipt["parts"]
    assert all(check["passed"] for check in parts["forwards"]["checks"]) and len(parts["forwards"]["checks"]) > 60
    assert {row["shape"] for row in parts["layers"]["rows"]} == {"olmoe", "deepseek"}
    assert len(parts["layers"]["rows"]) == 2 * 9, "every contender on both"
    assert {row["strategy"] for row in parts["whole"]["rows"]} >= {"ESFT", "ESFT, sync-free", "LoRA, recomputed"}
    assert parts["device"]["facts"]["versions"]["torch"] == torch.__version__
    assert "a CPU's receipt" in page and "not asked for" in page
    assert all(f"## {part.title}" in page for part in PARTS if part.name in names)


@pytest.mark.slow
def test_the_long_parts_on_a_cpu(tmp_path: Path) -> None:
    code, receipt, _ = run_script(tmp_path, "--only", *LONG)
    assert (code, [result["status"] for result in receipt["parts"].values()]) == (0, ["passed", "passed"])
    assert {row["device"] for row in receipt["parts"]["compare"]["rows"]} == {"cpu"}
    assert all("F.grouped_mm" in row["products"] for row in receipt["parts"]["compare"]["rows"])


def _passes(context: Context) -> None:
    context.row(what="one", seconds=1.0)
    context.outcome.below("a number", 0.1, 0.2)


def _fails(context: Context) -> None:
    context.outcome.below("a number", 0.3, 0.2)


def _breaks(context: Context) -> None:
    context.row(what="before", seconds=1.0)
    raise ValueError("broken")


def _dies(context: Context) -> None:
    context.row(what="last words", seconds=1.0)
    import os

    os._exit(7)


def _hangs(context: Context) -> None:
    import time

    time.sleep(600)


def _lacks(context: Context) -> None:
    raise SkippedError("there is no such package")


_HERE = {"passes": _passes, "fails": _fails, "breaks": _breaks, "dies": _dies, "hangs": _hangs, "lacks": _lacks}


def _work(names: list[str], accelerator: str, scale: str, share: float, deadline: float, line: Any) -> None:
    """The worker with the parts of this file."""
    from benchmarks.gpu import worker

    worker.PARTS = _parts()  # type: ignore[misc]
    worker.import_module = lambda name: __import__(__name__, fromlist=["x"])  # type: ignore[assignment]
    worker.work(names, accelerator, scale, share, deadline, line)


def _parts() -> tuple[Part, ...]:
    return tuple(Part(name, name, "", f"_{name}", 1) for name in _HERE)


def test_what_goes_wrong_in_a_part_costs_that_part_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PARTS", _parts())
    monkeypatch.setattr(runner, "work", _work)
    # forked, with the libraries that are loaded here; the script spawns, since a fork would lose CUDA
    forked = multiprocessing.get_context("fork")
    monkeypatch.setattr(runner.multiprocessing, "get_context", lambda method: forked)
    told: list[str] = []
    receipt = tmp_path / "gpu.json"
    runner.run(list(_HERE), accelerator="cpu", scale="least", minutes=5, receipt=receipt, tell=told.append)
    parts = json.loads(receipt.read_text())["parts"]
    assert {name: result["status"] for name, result in parts.items()} == {
        "passes": "passed", "fails": "failed", "breaks": "failed", "dies": "cut", "hangs": "cut", "lacks": "skipped",
    }  # fmt: skip
    assert parts["fails"]["reason"] == "a number: 0.3"
    assert "ValueError: broken" in parts["breaks"]["reason"] and "in _breaks" in parts["breaks"]["traceback"]
    assert [parts[name]["rows"][0]["what"] for name in ("breaks", "dies")] == ["before", "last words"]
    assert "code 7" in parts["dies"]["reason"] and "longer" in parts["hangs"]["reason"]
    assert parts["lacks"]["reason"] == "there is no such package"
    assert len(told) == len(_HERE)


def test_without_time_everything_is_skipped_and_said(tmp_path: Path) -> None:
    code, receipt, page = run_script(tmp_path, "--minutes", "0")
    assert code == 0
    assert {result["status"] for result in receipt["parts"].values()} == {"skipped"}
    assert "minutes were over" in page


def test_on_a_machine_without_a_gpu_the_full_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--receipt", str(tmp_path / "gpu.json")]) == 2
    assert "--device cpu" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_the_page_of_the_repository_is_what_the_writer_makes_of_its_receipt(tmp_path: Path) -> None:
    root = ROOT
    receipt = root / "docs/gpu.json"
    write_page(json.loads(receipt.read_text()) if receipt.is_file() else None, tmp_path / "gpu.md")
    page = (tmp_path / "gpu.md").read_text()
    assert page == (root / "docs/gpu.md").read_text()
    assert receipt.is_file() or "No GPU has run this code" in page


def test_checks_hold_by_their_limits() -> None:
    outcome = Outcome()
    outcome.near("near", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.001]), 1e-3)
    outcome.near("far", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]), 1e-3)
    outcome.below("no number", float("nan"), 1.0)
    outcome.skipped("left out", "it is not there")
    assert [check["passed"] for check in outcome.checks] == [True, False, False, None]
    assert [line.partition(":")[0] for line in outcome.failed] == ["far", "no number"]


def test_the_full_scale_measures_the_published_layers(tmp_path: Path) -> None:
    from benchmarks.gpu.models import measured_shapes, whole_config
    from benchmarks.gpu.plain_loop import plain_loop  # noqa: F401

    context = Context(torch.device("cpu"), "cpu", SCALES["full"], tmp_path)
    olmoe, deepseek = measured_shapes(context)
    assert (olmoe.hidden, olmoe.intermediate, olmoe.experts, olmoe.top_k) == (2048, 1024, 64, 8)
    assert (deepseek.hidden, deepseek.intermediate, deepseek.experts, deepseek.top_k) == (2048, 1408, 64, 6)
    config = whole_config(context)
    assert (config.num_hidden_layers, config.vocab_size, config.num_experts) == (16, 50_304, 64)
