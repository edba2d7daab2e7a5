"""Grids that really run: a small random MoE, real processes, two steps a run."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT
from rich.console import Console
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import deepseek_model

from esft_lightning.comparison.report import write_report
from esft_lightning.comparison.result import RunResult, load_results
from esft_lightning.comparison.run_places import SPEC_FILE, RunPlaces, run_key
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.runner import GridOutcome, run_grid
from esft_lightning.embedded import TINY
from esft_lightning.scoring.completions import read_completions


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of some 100,000 parameters with the tiny model's tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    deepseek_model(vocab_size=2048).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    return folder


def spec(base: Path, strategy: str = "base", **changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "task": "law", "strategy": strategy, "steps": 0 if strategy == "base" else 2, "base": str(base),
        "learning_rate_scale": 100.0, "profile_tokens": 512,
        "data": {"test_rows": 2, "train_rows": 60, "batch_size": 2, "sequence_length": 128},
        "model": {"general_ability": False, "max_new_tokens": 4},
    }  # fmt: skip
    return RunSpec(**(values | changes))


def run(specs: list[RunSpec], output: Path) -> GridOutcome:
    return run_grid(specs, output, threads=1, console=Console(quiet=True))


@pytest.fixture(scope="module")
def grid(base: Path) -> list[RunSpec]:
    trained = [spec(base, "ESFTToken"), spec(base, "FullFineTuning"), spec(base, "own_strategies.NormsOnly")]
    return [*trained, trained[0].base_run()]


@pytest.fixture(scope="module")
def first(grid: list[RunSpec], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GridOutcome]:
    """The grid, run once."""
    output = tmp_path_factory.mktemp("runs")
    return output, run(grid, output)


def by_name(outcome: GridOutcome) -> dict[str, RunResult]:
    return {result.spec.name: result for result in outcome.results}


def test_every_run_leaves_a_finished_result_with_its_facts(first: tuple[Path, GridOutcome]) -> None:
    output, outcome = first
    assert [result.error for result in outcome.failed] == []
    assert (outcome.made, outcome.kept) == (4, 0)
    results = by_name(outcome)
    assert set(results) == {"base", "ESFTToken", "FullFineTuning", "NormsOnly"}
    for name, result in results.items():
        assert 0 <= result.after["task"] <= 1
        assert result.after["task"] == pytest.approx(sum(result.rows["task"]) / len(result.rows["task"]), abs=1e-6)
        assert result.peak_memory_bytes > 50e6
        assert result.hardware["threads"] == 1
        assert result.versions["torch"]
        if name != "base":
            assert result.before == results["base"].after
            assert len(result.losses["train"]) == 2
            assert result.seconds["step"] > 0
            assert result.adapter_bytes > 0
            assert result.weight_updates == "fp32_masters"
    assert results["FullFineTuning"].trained_share == 1
    assert 0 < results["NormsOnly"].trained_share < results["ESFTToken"].trained_share < 1
    assert sorted(results["ESFTToken"].selected_experts) == ["1", "2"]
    assert sorted(result.key for result in load_results(output)) == sorted(r.key for r in outcome.results)


def test_all_strategies_train_on_the_same_batches_in_the_same_order(first: tuple[Path, GridOutcome]) -> None:
    trained = [result for result in first[1].results if not result.spec.is_base]
    assert len({result.batches_digest for result in trained}) == 1
    assert trained[0].batches_digest
    # The first loss is the untouched model's, so it too must agree: same rows, same labels.
    assert max(r.losses["train"][0] for r in trained) == pytest.approx(min(r.losses["train"][0] for r in trained), 1e-5)


def test_runs_are_overlaid_under_one_tensorboard_root_with_hyper_parameters(first: tuple[Path, GridOutcome]) -> None:
    for folder, result in zip(first[1].folders, first[1].results, strict=True):
        assert first[0] in folder.parents
        events = EventAccumulator(str(folder)).Reload()
        scalars = events.Tags()["scalars"]
        assert "final/task_score" in scalars
        assert "_hparams_/session_start_info" in events.summary_metadata
        if not result.spec.is_base:
            losses = [event.value for event in events.Scalars("train/loss")]
            assert losses == pytest.approx(result.losses["train"], abs=1e-5)


def test_finished_runs_are_not_repeated_and_a_report_needs_no_run(
    grid: list[RunSpec], first: tuple[Path, GridOutcome]
) -> None:
    output, outcome = first
    again = run(grid, output)
    assert (again.made, again.kept) == (0, 4)
    assert again.results == outcome.results
    assert "NormsOnly" in write_report(load_results(output), output).read_text()


def test_other_settings_get_a_folder_of_their_own_and_leave_the_first_run_alone(
    base: Path, first: tuple[Path, GridOutcome]
) -> None:
    output, _ = first
    old, new = spec(base, "ESFTToken"), spec(base, "ESFTToken", steps=3)
    places = RunPlaces(output)
    with places.claim(run_key(new), new) as folder:
        assert folder == output / f"law/esft_token/seed0-{run_key(new)}"
    assert places.folder(run_key(old)) == output / "law/esft_token/seed0"
    assert places.finished(run_key(old)) is not None
    shutil.rmtree(output / f"law/esft_token/seed0-{run_key(new)}")


def test_a_run_is_in_one_runners_hands_and_known_to_the_others(base: Path, tmp_path: Path) -> None:
    run_, key = spec(base, "ESFTToken"), run_key(spec(base, "ESFTToken"))
    one, other = RunPlaces(tmp_path), RunPlaces(tmp_path)
    with one.claim(key, run_) as folder:
        assert folder is not None
        with other.claim(key, run_) as taken:
            assert taken is None
        assert other.folder(key) == folder
        with other.claim("another", run_.with_changes(steps=3)) as apart:
            assert apart is not None
            assert apart != folder
    with other.claim(key, run_.with_changes(label="another name")) as again:
        assert again == folder


def test_a_run_made_under_another_label_counts_and_takes_the_new_one(
    grid: list[RunSpec], first: tuple[Path, GridOutcome]
) -> None:
    output, outcome = first
    again = run([each.with_changes(label=f"{each.name} again") for each in grid], output)
    assert (again.made, again.kept) == (0, 4)
    assert [result.spec.name for result in again.results] == [f"{each.name} again" for each in grid]
    assert [result.after for result in again.results] == [result.after for result in outcome.results]


def test_every_row_is_scored_on_the_task_on_others_and_on_general_ability(base: Path, tmp_path: Path) -> None:
    trained = spec(
        base,
        "FullFineTuning",
        also_test=("math",),
        model={"general_ability": True, "general_limit": 3, "max_new_tokens": 4},
    )
    outcome = run([trained, trained.base_run()], tmp_path)
    assert not outcome.failed
    for result, folder in zip(outcome.results, outcome.folders, strict=True):
        assert len(result.rows["task"]) == len(result.rows["also/math"]) == 2
        assert sum(result.rows["also/math"]) / 2 == pytest.approx(result.after["also/math"])
        probes = [name for name in result.rows if name.startswith("general/")]
        assert len(probes) == 6
        assert result.after["general/loss"] > result.after["general/average"]
        for task, name in (("law", "completions.jsonl"), ("math", "also_math_completions.jsonl")):
            assert len(read_completions(str(folder / name))) == 2, task
    assert outcome.results[0].before["also/math"] == outcome.results[1].after["also/math"]


def test_an_optimizer_step_of_several_batches_is_one_step(base: Path, tmp_path: Path) -> None:
    outcome = run([spec(base, "FullFineTuning", steps=3, accumulate=2)], tmp_path)
    assert not outcome.failed
    (result,) = outcome.results
    assert len(result.losses["train"]) == 3
    assert [step for step, _ in result.losses["validation"]] == [1, 2, 3]
    assert result.tokens_trained > 3 * 2 * 64


def test_validation_rows_are_answered_where_that_is_asked_for(base: Path, tmp_path: Path) -> None:
    asked = {"steps": 2, "validate_every": 1, "validation_answers": 3}
    (result,) = run([spec(base, "FullFineTuning", **asked)], tmp_path).results
    assert [step for step, _ in result.validation_scores] == [1, 2] == [step for step, _ in result.losses["validation"]]
    assert result.kept_score == 0.0, "a random model rules nothing right"
    read = RunResult.from_dict(json.loads(json.dumps(result.to_dict())))
    scored = dataclasses.replace(read, validation_scores=[[1, 0.5], [2, 0.25]])
    assert scored.kept_validation == (1, result.losses["validation"][0][1])
    assert scored.kept_score == 0.5
    assert spec(base, "FullFineTuning").content_hash != spec(base, "FullFineTuning", validation_answers=1).content_hash


def test_training_ends_when_the_validation_loss_no_longer_falls_and_the_best_weights_stay(
    base: Path, tmp_path: Path
) -> None:
    fast = {"steps": 12, "validate_every": 1, "patience": 2, "strategy_args": {"learning_rate": 0.3}}
    outcome = run([spec(base, "FullFineTuning", **fast)], tmp_path / "long")
    (result,) = outcome.results
    losses = [loss for _, loss in result.losses["validation"]]
    assert result.converged
    assert len(losses) == len(result.losses["train"]) < 12
    assert result.kept_validation is not None
    best, lowest = result.kept_validation
    assert lowest == min(losses)
    assert best == len(losses) - 2, "two validations without a lower loss"
    short = run([spec(base, "FullFineTuning", **{**fast, "steps": best})], tmp_path / "short")
    assert not short.results[0].converged
    kept, expected = (
        load_file(next(root.rglob("adapter_model.safetensors"))) for root in (tmp_path / "long", tmp_path / "short")
    )
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in kept)


def test_a_finished_run_no_longer_counts_when_the_base_models_weights_have_changed(base: Path, tmp_path: Path) -> None:
    copied = tmp_path / "base"
    shutil.copytree(base, copied)
    before = run_key(spec(copied))
    assert run_key(spec(copied)) == before
    weights = load_file(copied / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, copied / "model.safetensors", {"format": "pt"})
    assert run_key(spec(copied)) != before


def test_failed_and_crashed_runs_are_recorded_and_do_not_stop_the_rest(base: Path, tmp_path: Path) -> None:
    specs = [
        spec(base, "LoRA", strategy_args={"rank": 0}),
        spec(base, "own_strategies.Crash"),
        spec(base),
    ]
    outcome = run(specs, tmp_path)
    failed = {result.spec.name: result for result in outcome.failed}
    assert set(failed) == {"LoRA", "Crash"}
    assert failed["LoRA"].error == "rank must be at least 1, got 0"
    assert failed["LoRA"].mendable and not failed["LoRA"].traceback
    log = (tmp_path / failed["LoRA"].spec.folder / "log.txt").read_text()
    assert "error: rank must be at least 1, got 0" in log and "Traceback" not in log
    assert "killed by signal 9 (out of memory?)" in failed["Crash"].error and not failed["Crash"].mendable
    recorded = {result.spec.name: result.status for result in load_results(tmp_path)}
    assert recorded == {"LoRA": "failed", "Crash": "failed", "base": "finished"}
    again = run(specs[1:], tmp_path)
    assert (again.made, again.kept) == (1, 1), "failed runs are tried again, finished ones are not"


def test_a_failure_that_cannot_be_written_is_said_and_does_not_stop_the_rest(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RunResult.save

    def no_room(result: RunResult, folder: Path) -> Path:
        if result.status == "failed":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return save(result, folder)

    monkeypatch.setattr(RunResult, "save", no_room)
    outcome = run([spec(base, "own_strategies.Crash"), spec(base)], tmp_path)
    (failed,) = outcome.failed
    assert "killed by signal 9" in failed.error and "that is not on disk: " in failed.error
    assert outcome.made == 2 and [result.spec.name for result in load_results(tmp_path)] == ["base"]


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """Ctrl-C raises here even where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupted_grid_ends_its_run_and_goes_on_from_there(base: Path, tmp_path: Path) -> None:
    specs = [spec(base), spec(base, "FullFineTuning", steps=5000)]
    training = tmp_path / "law/full_fine_tuning/seed0"

    def interrupt_in_training() -> None:
        deadline = time.monotonic() + 60
        while not list(training.glob("events*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_in_training)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run(specs, tmp_path)
    watcher.join()
    assert [result.spec.name for result in load_results(tmp_path)] == ["base"]
    short = [spec(base), spec(base, "FullFineTuning", steps=1)]
    shutil.rmtree(training)
    outcome = run(short, tmp_path)
    assert (outcome.made, outcome.kept, outcome.failed) == (1, 1, [])


RUNNER = """
import sys
from pathlib import Path
from rich.console import Console
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.runner import run_grid
import json

if __name__ == "__main__":
    specs = [RunSpec.from_dict(values) for values in json.loads(Path(sys.argv[1]).read_text())]
    outcome = run_grid(specs, sys.argv[2], threads=1, console=Console(quiet=True))
    print(json.dumps({"made": outcome.made, "scores": [result.after for result in outcome.results]}))
"""


def start_runner(specs: list[RunSpec], output: Path, folder: Path) -> subprocess.Popen[str]:
    """A runner in a process of its own."""
    (folder / "runner.py").write_text(RUNNER)
    (folder / "specs.json").write_text(json.dumps([each.to_dict() for each in specs]))
    command = [sys.executable, str(folder / "runner.py"), str(folder / "specs.json"), str(output)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=environment, start_new_session=True)


def test_two_runners_share_a_grid_and_make_every_run_once(base: Path, tmp_path: Path) -> None:
    specs = [spec(base), *(spec(base, "FullFineTuning", seed=seed) for seed in range(3))]
    runners = [start_runner(specs, tmp_path / "runs", tmp_path) for _ in range(2)]
    outcomes = [json.loads(runner.communicate(timeout=240)[0]) for runner in runners]
    assert sum(outcome["made"] for outcome in outcomes) == len(specs)
    assert outcomes[0]["scores"] == outcomes[1]["scores"]
    assert len(list((tmp_path / "runs").rglob(SPEC_FILE))) == len(specs)


def test_a_killed_grid_goes_on_and_nothing_is_done_twice(base: Path, tmp_path: Path) -> None:
    specs = [spec(base), spec(base, "FullFineTuning"), spec(base, "FullFineTuning", steps=40, seed=1)]
    output = tmp_path / "runs"
    runner = start_runner(specs, output, tmp_path)
    deadline = time.monotonic() + 120
    long = output / "law/full_fine_tuning/seed1"
    while not list(long.glob("events*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    before = {path: path.stat().st_mtime_ns for path in output.rglob("result.json")}
    assert len(before) == 2
    assert not (long / "result.json").exists()
    outcome = run(specs, output)
    assert (outcome.made, outcome.kept, outcome.failed) == (1, 2, [])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(outcome.results[2].losses["train"]) == 40
