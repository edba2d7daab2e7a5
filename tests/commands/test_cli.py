"""The command line: what composes, what is refused and how, and what stays light."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT
from training_runs import write_base, write_rows

from esft_lightning import __main__ as entry
from esft_lightning.commands.lightning_cli import FineTuningCLI, make_cli
from esft_lightning.strategies import ESFTGate, ESFTToken, LoRA
from esft_lightning.tasks import IntentDataModule, LawDataModule
from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler
from esft_lightning.training.module import ExpertFineTuner

CONFIGS = ROOT / "configs"
_CPU = ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])


def configs(*names: str) -> list[str]:
    return [part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))]


def parsed(*arguments: str) -> FineTuningCLI:
    return make_cli(list(arguments), run=False)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_shipped_file_says_how_to_run_it_and_makes_objects(path: Path) -> None:
    kind = path.parent.name
    if kind not in ("models", "tasks", "strategies"):
        pytest.skip(f"{kind} files are not for fit")
    header = path.read_text().split("\n\n")[0]
    assert "python -m esft_lightning fit" in header and f"configs/{kind}/{path.name}" in header
    chosen = {"models": "tiny", "tasks": "law", "strategies": "esft_gate"} | {kind: path.stem}
    cli = parsed(*configs(*(f"{folder}/{name}" for folder, name in chosen.items())), *_CPU)
    document = yaml.safe_load(path.read_text())
    if kind == "models":
        assert cli.model.base == document["model"]["base"]
    elif kind == "tasks":
        assert type(cli.datamodule).__name__ == document["data"]["class_path"]
    else:
        assert cli.model.strategy.name == document["model"]["strategy"]["class_path"]


def test_files_compose_in_any_order_and_options_override_them() -> None:
    files = ("models/deepseek_v2_lite", "tasks/law", "strategies/esft_token")
    options = ["--model.strategy.init_args.top_p", "0.3", "--data.seed", "7", *_CPU]
    for order in (files, files[::-1]):
        cli = parsed(*configs(*order), *options)
        assert isinstance(cli.datamodule, LawDataModule) and isinstance(cli.model.strategy, ESFTToken)
        assert cli.datamodule.sequence_length == 4096 and cli.datamodule.seed == 7
        assert cli.model.strategy.top_p == 0.3
        assert cli.datamodule.tokenizer_base == cli.model.base == "deepseek-ai/DeepSeek-V2-Lite"
        assert cli.trainer.max_steps == 500 and cli.trainer.gradient_clip_val == 1.0


def test_short_names_and_dotted_options_need_no_file_for_data_and_strategy() -> None:
    cli = parsed(
        *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files",
        "--data.train_files", "a.jsonl", "--model.strategy", "ESFTGate", "--model.strategy.top_p", "0.2",
    )  # fmt: skip
    assert isinstance(cli.datamodule, IntentDataModule) and cli.datamodule.train_files == "a.jsonl"
    assert isinstance(cli.model.strategy, ESFTGate) and cli.model.strategy.top_p == 0.2
    kinds = {type(callback) for callback in cli.trainer.callbacks}  # type: ignore[attr-defined]
    assert {ExpertAffinityProfiler, AdapterCheckpoint} <= kinds
    assert Path(cli.trainer.logger.save_dir, "intent", "ESFTGate") == Path("runs/intent/ESFTGate")  # type: ignore[union-attr]


def test_several_training_files_are_a_list() -> None:
    cli = parsed(
        "--data", "LawDataModule", "--data.source", "files", "--data.train_files", "[a.jsonl, b.jsonl]",
        "--model.strategy", "LoRA", "--model.strategy.rank", "4", *_CPU,
    )  # fmt: skip
    assert cli.datamodule.train_files == ["a.jsonl", "b.jsonl"]
    assert isinstance(cli.model.strategy, LoRA) and cli.model.strategy.rank == 4


def test_what_cannot_be_quantised_ends_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = write_base(tmp_path / "base")  # a configuration without weights
    arguments = [
        "fit", *configs("models/tiny", "tasks/law", "strategies/esft_token"), "--model.base", base,
        "--model.random_weights", "true", "--model.quantize_experts", "int8", *_CPU,
    ]  # fmt: skip
    assert entry.main(arguments) == 2
    said = capfd.readouterr().err
    assert "error: quantize_experts=int8 reads the selected experts" in said and "Traceback" not in said


def test_bad_data_ends_in_one_line_that_names_file_and_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base, rows = write_base(tmp_path / "base"), tmp_path / "rows.jsonl"
    rows.write_text('{"messages": []}\n')
    arguments = [
        "fit", *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files",
        "--data.train_files", str(rows), "--model.strategy", "LoRA", "--model.base", base,
    ]  # fmt: skip
    assert entry.main(arguments) == 2
    said = capfd.readouterr().err
    assert "rows.jsonl:1: " in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["--model.stratgy", "ESFTGate"], "model.strategy"),
        (["--model.strategy", "ESFTGat"], "ESFTGate"),
        (["--data", "IntntDataModule", "--model.strategy", "ESFTGate"], "IntentDataModule"),
        (["--data", "LawDataModule", "--data.train_fils", "x", "--model.strategy", "ESFTGate"], "train_files"),
        (["--data", "LawDataModule", "--model.strategy", "ESFTGate", "--model.strategy.topp", "1"], "top_p"),
        (["-c", "model: {bse: tiny}"], "model.base"),
        (["-c", "modle: {base: tiny}"], "model.base"),
        (["-c", "data: {class_path: LawDataModule, init_args: {sequence_lenth: 3}}"], "sequence_length"),
        (["-c", "trainer: {max_stps: 3}"], "trainer.max_steps"),
    ],
)
def test_a_wrong_key_is_refused_with_the_nearest_right_one(
    arguments: list[str], nearest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "-c":
        (tmp_path / "wrong.yaml").write_text(arguments[1])
        arguments = ["-c", str(tmp_path / "wrong.yaml")]
    with pytest.raises(SystemExit) as left:
        parsed(*arguments)
    assert left.value.code == 2
    hint = capsys.readouterr().err.partition("Did you mean ")[2]
    assert hint.partition("?")[0].startswith(f"'{nearest}'")


def test_a_wrong_verb_is_refused_with_the_nearest_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["fitt"]) == 2
    assert "did you mean 'fit'" in capsys.readouterr().err


_VERBS = (*entry._LIGHTNING_VERBS, *entry._COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([verb, "--help"] for verb in _VERBS if verb != "fit")],
    ids=" ".join,
)
def test_help_of_verbs_that_do_not_train_loads_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys; from esft_lightning.__main__ import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "heavy = [m for m in ('torch', 'lightning', 'transformers', 'torchmetrics', 'jsonargparse', 'matplotlib') "
        "if m in sys.modules]\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_fit_profiles_selects_trains_and_leaves_an_adapter_then_test_and_predict_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    common = [
        *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files", "--data.train_files", rows,
        "--data.sequence_length", "64", "--data.val_fraction", "0.1",
        "--model.strategy", "ESFTGate", "--model.base", base, "--model.random_weights", "true",
    ]  # fmt: skip
    assert entry.main(["fit", *common, "--trainer.max_steps", "4", "--trainer.val_check_interval", "2"]) == 0
    run = tmp_path / "runs/intent/ESFTGate/version_0"
    assert {"adapter", "adapter_best", "affinity.safetensors", "checkpoints", "config.yaml", "expert_cfg.json"} <= {
        path.name for path in run.iterdir()
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    answer = json.dumps({"intent": "a", "slots": {}})
    (tmp_path / "test.jsonl").write_text(
        json.dumps({"prompt": "User: a\n\nAssistant:", "raw_answers": [answer]}) + "\n"
    )
    evaluation = [*common, "--data.test_files", "test.jsonl", "--model.max_new_tokens", "3"]
    assert entry.main(["predict", *evaluation, "--model.adapter", str(run / "adapter")]) == 0
    written = capsys.readouterr().out.partition("predictions written: ")[2].split()[0]
    prediction = json.loads(Path(written).read_text())
    assert prediction["example"]["raw_answers"] == [answer] and prediction["score"] == 0.0
    checkpoint = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--model.general_ability", "false"]
    assert entry.main(["test", *evaluation, *checkpoint]) == 0
    said = capsys.readouterr().out
    assert "test/intent/score" in said
    (kept,) = (tmp_path / "runs/answers").iterdir()
    assert f"1 answers with their scores: {kept.relative_to(tmp_path)}" in said
    assert json.loads(kept.read_text())["example"]["raw_prediction"] == prediction["example"]["raw_prediction"]


def test_a_test_that_was_stopped_goes_on_with_the_same_answers_and_a_changed_one_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    right = json.dumps({"intent": "a", "slots": {}})
    questions = [{"prompt": f"User: {letter}\n\nAssistant:", "raw_answers": [right]} for letter in "abcde"]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    command = [
        "test", *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files",
        "--data.train_files", rows, "--data.test_files", "test.jsonl", "--data.test_batch_size", "2",
        "--model.strategy", "FullFineTuning", "--model.base", base, "--model.random_weights", "true",
        "--model.general_ability", "false", "--model.max_new_tokens", "4",
    ]  # fmt: skip
    asked: list[int] = []
    generate = ExpertFineTuner.generate

    def dies_at_the_third_batch(module: ExpertFineTuner, prompts: list[str]) -> list[str]:
        asked.append(len(prompts))
        if len(asked) == 3:
            raise KeyError("the machine went away")
        return generate(module, prompts)

    monkeypatch.setattr(ExpertFineTuner, "generate", dies_at_the_third_batch)
    with pytest.raises(KeyError):
        entry.main(command)
    (kept,) = (tmp_path / "runs/answers").iterdir()
    assert len(kept.read_text().splitlines()) == 4
    with kept.open("a") as file:
        file.write('{"example": {"prompt": "User: e')  # as a process leaves a line when it is killed
    assert entry.main(command) == 0
    assert "4 answers are there already" in capsys.readouterr().out
    assert asked == [2, 2, 1, 0, 0, 1]
    resumed = kept.read_text()
    kept.unlink()
    assert entry.main(command) == 0
    assert kept.read_text() == resumed
    assert len(resumed.splitlines()) == 5
    assert entry.main([*command, "--model.stop", "[x]"]) == 0
    assert len(list((tmp_path / "runs/answers").iterdir())) == 2, "another setting, another file"


def test_profile_writes_the_profile_that_fit_then_uses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    common = [
        *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files", "--data.train_files", rows,
        "--data.sequence_length", "64", "--model.strategy", "ESFTToken", "--model.base", base,
        "--model.random_weights", "true", "--affinity.token_budget", "500",
    ]  # fmt: skip
    assert entry.main(["profile", *common, "--output", "here.safetensors"]) == 0
    assert entry.main(["fit", *common, "--trainer.max_steps", "1"]) == 0
    assert "found in the cache" in caplog.text
    cached = list((tmp_path / "runs/profiles").iterdir())
    run = tmp_path / "runs/intent/ESFTToken"
    profiles = [p.read_bytes() for p in (*cached, Path("here.safetensors"), *run.glob("*/affinity.safetensors"))]
    assert len(cached) == 1 and len(profiles) == 3 and len(set(profiles)) == 1


def test_profile_with_several_processes_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "profile", *configs("models/tiny", "tasks/law", "strategies/esft_token"), "--trainer.accelerator", "cpu",
        "--trainer.devices", "2", "--trainer.strategy", "ddp",
    ]  # fmt: skip
    assert entry.main(arguments) == 2
    assert "profile reads the rows in one process" in capfd.readouterr().err


_PLUGIN = '''
from esft_lightning.strategies import FineTuningStrategy


class NormsOnly(FineTuningStrategy):
    """Train the norms."""

    default_learning_rate = 1e-4

    def make_trainable(self, model, selection=None):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("norm" in name)
'''


def test_a_strategy_from_outside_the_package_is_named_by_its_class_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plug.py").write_text(_PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    arguments: list[Any] = [
        "fit", *configs("models/tiny"), "--data", "IntentDataModule", "--data.source", "files",
        "--data.train_files", rows, "--data.sequence_length", "64", "--model.strategy", "plug.NormsOnly",
        "--model.base", base, "--model.random_weights", "true", "--trainer.max_steps", "2",
    ]  # fmt: skip
    assert entry.main(arguments) == 0
    adapter = tmp_path / "runs/intent/NormsOnly/version_0/adapter"
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names and all("norm" in name for name in names)
