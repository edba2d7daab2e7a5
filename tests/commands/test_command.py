"""What the verb refuses before anything long starts, and what a grid consists of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT

from esft_lightning.__main__ import main
from esft_lightning.comparison.devices import DevicePool, visible_devices
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
from esft_lightning.comparison.grid_options import narrowed
from esft_lightning.comparison.run_places import run_key


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
        "import sys, esft_lightning.commands.compare, esft_lightning.comparison.runner as _, "
        "esft_lightning.comparison.table; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


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
    document = yaml.safe_load((ROOT / "configs/models/tiny.yaml").read_text())
    assert document["model"] == {"base": "tiny", **TINY_MODEL}
    assert document["data"]["init_args"] == TINY_DATA
    assert base_settings("tiny") == TINY_MODEL
    assert base_settings("some/other") == {"learning_rate_scale": 1.0}
    scales = {spec.strategy: spec.learning_rate_scale for spec in build_grid(["law"]) if not spec.is_base}
    assert scales["ESFTGate"] == scales["RandomExperts"] == TINY_MODEL["learning_rate_scale"]["default"]
    assert scales["FullFineTuning"] == TINY_MODEL["learning_rate_scale"]["FullFineTuning"]


def test_a_plan_and_commands_are_printed_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["compare", "--tasks", "law", "--strategies", "LoRA", "--output", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["esft", *arguments, "--print-commands"])
    assert main([*arguments, "--plan"]) == 0
    assert "2 runs, 0 of them finished; 2 to make, 150 steps" in capsys.readouterr().out
    assert main([*arguments, "--print-commands"]) == 0
    commands = capsys.readouterr().out.splitlines()
    keys = [run_key(spec) for spec in build_grid(["law"], ["LoRA"])]
    assert [command.split()[-1] for command in commands] == keys
    assert all("--print-commands" not in command and "--tasks law" in command for command in commands)
    assert not (tmp_path / "runs").exists()


def test_a_key_brings_its_base_run_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    base, lora, gate = build_grid(["law"], ["LoRA", "ESFTGate"])
    assert narrowed([base, lora, gate], [run_key(gate)]) == [base, gate]
    assert narrowed([base, lora, gate], None) == [base, lora, gate]
    assert main(["compare", "--tasks", "law", "--only", "0123"]) == 2
    assert "--only 0123: no such run" in capsys.readouterr().err


def test_devices_are_dealt_to_runs_and_come_back(tmp_path: Path) -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "3, 5"}, tmp_path) == ["3", "5"]
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == []
    driver, nodes = tmp_path / "gpus", tmp_path / "dev"
    for name in ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"):
        (driver / name).mkdir(parents=True)
    assert visible_devices({}, driver, nodes) == ["0", "1", "2"]
    assert visible_devices({}, tmp_path / "none", nodes) == []
    nodes.mkdir()
    for name in ("nvidia2", "nvidiactl", "nvidia-uvm"):  # a container that was given one of the machine's three
        (nodes / name).touch()
    assert visible_devices({}, driver, nodes) == ["0"]
    pool = DevicePool(["3", "5"], jobs=3)
    with pool.lend() as first, pool.lend() as second, pool.lend() as third:
        assert (first, second, third) == ("3", "5", "3")
    with pool.lend() as again:
        assert again in ("3", "5")
    with DevicePool([], jobs=1).lend() as nothing:
        assert nothing is None
