"""What the verb refuses before anything long starts, and what a grid consists of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from esft_lightning.__main__ import main
from esft_lightning.comparison.grid import (
    DEFAULT_EFFORT,
    DEFAULT_STRATEGIES,
    DEFAULT_TASKS,
    QUICK_EFFORT,
    TINY_DATA,
    TINY_MODEL,
    base_settings,
    build_grid,
)
from esft_lightning.comparison.output_lock import LOCK_FILE, OutputBusyError, OutputLock


@pytest.fixture(autouse=True)
def _nothing_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the long part was started")

    monkeypatch.setattr("esft_lightning.comparison.runner.run_grid", refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "lew"], "unknown task 'lew'; did you mean 'law'?"),
        (["--strategies", "esftgate"], "unknown strategy 'esftgate'; did you mean 'ESFTGate'?"),
        (["--strategies", "no_such_package.Mine"], "cannot be imported"),
        (["--strategies", "pathlib.Path"], "is no FineTuningStrategy"),
        (["--tasks", "all"], "--allow-code-execution"),
        (["--tasks", "code,law"], "or leave it out with --tasks law"),
        (["--tasks", "all", "law"], "--tasks all stands alone"),
        (["--base", "./nowhere"], "base './nowhere' is no folder"),
        (["--output", "{file}/below"], "cannot be written"),
    ],
)
def test_bad_arguments_are_refused_with_the_way_out(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(file=tmp_path / "file") for argument in arguments]
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "a refused command leaves nothing behind"


def test_the_verb_starts_without_torch() -> None:
    code = (
        "import sys, esft_lightning.comparison.command, esft_lightning.comparison.runner as _, "
        "esft_lightning.comparison.table; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_the_default_grid_is_every_strategy_on_two_tasks_alike_but_for_what_is_trained() -> None:
    specs = build_grid()
    assert len(specs) == len(DEFAULT_TASKS) * (1 + len(DEFAULT_STRATEGIES)) == 14
    assert len({spec.content_hash for spec in specs}) == len({spec.folder for spec in specs}) == 14
    for task in DEFAULT_TASKS:
        trained = [spec for spec in specs if spec.task == task and not spec.is_base]
        alike = {str((s.data, s.model, s.steps, s.profile_tokens)) for s in trained}
        assert len(alike) == 1
        assert trained[0].base_run() in specs
    assert QUICK_EFFORT.steps < DEFAULT_EFFORT.steps


def test_seeds_repeat_what_trains_and_draw_random_experts_anew() -> None:
    specs = build_grid(["law"], ["RandomExperts", "LoRA"], range(3))
    assert [spec.name for spec in specs].count("base") == 1
    assert [spec.strategy_args for spec in specs if spec.name == "RandomExperts"] == [{"seed": n} for n in range(3)]


def test_the_tiny_models_settings_are_those_of_its_yaml() -> None:
    document = yaml.safe_load((Path(__file__).parents[2] / "configs/models/tiny.yaml").read_text())
    assert document["model"] == {"base": "tiny", **TINY_MODEL}
    assert document["data"]["init_args"] == TINY_DATA
    assert base_settings("tiny") == TINY_MODEL
    assert base_settings("some/other") == {"learning_rate_scale": 1.0}
    scales = {spec.strategy: spec.learning_rate_scale for spec in build_grid(["law"]) if not spec.is_base}
    assert scales["ESFTGate"] == scales["RandomExperts"] == TINY_MODEL["learning_rate_scale"]["default"]
    assert scales["FullFineTuning"] == TINY_MODEL["learning_rate_scale"]["FullFineTuning"]


def test_a_second_runner_is_refused_and_a_dead_ones_lock_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("999999999\n")  # left by a process that is gone
    with OutputLock(tmp_path):
        with pytest.raises(OutputBusyError, match=r"process \d+\) is at work"), OutputLock(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).read_text() != "999999999\n"
    with OutputLock(tmp_path):
        pass
