"""Wrong keys, values and combinations on the Lightning command line: one sentence each, and never a hundred lines."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from training_runs import write_base, write_rows

from esft_lightning import __main__ as entry
from esft_lightning.commands.lightning_cli import make_cli

START = ["-c", "configs/models/tiny.yaml", "--data", "LawDataModule", "--model.strategy", "ESFTGate"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["esft_lightning"])


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a refused `fit` leaves on standard error, without remarks on the way."""
    try:
        code: object = entry.main(["fit", *arguments])
    except SystemExit as left:
        code = left.code
    assert code == 2
    captured = capsys.readouterr()
    assert "usage:" not in captured.err and "Traceback" not in captured.err
    lines = captured.err.splitlines()
    return lines[next(n for n, line in enumerate(lines) if line.startswith("error: ")) :]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--data", "law"],
            "data: there is no class 'law'. Did you mean 'LawDataModule'? Expected one of MathDataModule, ",
        ),
        (
            ["--model.strategy", "esft"],
            "model.strategy: there is no class 'esft'. Did you mean 'ESFT'? Expected one of ESFT",
        ),
        (["--model.strategy", "lora"], "model.strategy: there is no class 'lora'. Did you mean 'LoRA'?"),
        (
            ["--model.strategy", "nobodys_plug.Mine"],
            "model.strategy: 'nobodys_plug.Mine' cannot be imported (No module named 'nobodys_plug')",
        ),
        (
            ["--model.strategy", "torch.nn.Linear"],
            "model.strategy: torch.nn.Linear is no FineTuningStrategy; expected one",
        ),
        (["--data.chat_format", "chatml"], "data.chat_format: unknown value 'chatml'; expected one of esft, template"),
        (
            ["--data.source", "file"],
            "data.source: unknown value 'file'; did you mean 'files'? Expected one of embedded",
        ),
        (["--model.dtype", "fp32"], "model.dtype: unknown value 'fp32'; expected one of auto, float32, bfloat16"),
        (["--model.quantize_experts", "int4"], "model.quantize_experts: unknown value 'int4'; did you mean 'int8'?"),
        (
            ["--affinity.counting", "responses"],
            "affinity.counting: unknown value 'responses'; did you mean 'response'?",
        ),
        (
            ["--trainer.strategy", "ddpp"],
            "trainer.strategy: unknown name 'ddpp'; did you mean 'ddp'? Expected one of auto",
        ),
        (
            ["--trainer.strategy", "split_layer"],
            "trainer.strategy: unknown name 'split_layer'; did you mean 'split_layers'",
        ),
        (
            ["--trainer.accelerator", "cuda0"],
            "trainer.accelerator: unknown name 'cuda0'; did you mean 'cuda'? Expected",
        ),
        (
            ["--trainer.logger", "WandLogger"],
            "trainer.logger: there is no class 'WandLogger'. Did you mean 'WandbLogger'?",
        ),
        (["--trainer.max_steps", "many"], "trainer.max_steps: expected a whole number, got many"),
        (["--trainer.max_step", "3"], "there is no setting 'trainer.max_step'. Did you mean 'trainer.max_steps'?"),
        (["--model.strategy.score", "token"], "ESFTGate has no setting 'score'; ESFT, "),
        (["--model.strategy.topp", "1"], "there is no setting 'topp'. Did you mean 'top_p'?"),
        (["--data.sequence_length", "abc"], "data.sequence_length: expected a whole number, got abc"),
        (["--data.column_mapping", "user"], "data.column_mapping: expected a mapping or null, got user"),
        (
            ["--model.gradient_checkpointing", "maybe"],
            "model.gradient_checkpointing: expected true or false, got maybe",
        ),
        (
            ["--model.lr_scheduler", "torch.optim.lr_scheduler.CosineLR"],
            "model.lr_scheduler: module 'torch.optim.lr_sch",
        ),
        (["--ckpt_pth", "x"], "there is no setting 'ckpt_pth'. Did you mean 'ckpt_path'?"),
        (["--trainer.accumulate_grad_batches", "0"], "trainer.accumulate_grad_batches must be at least 1, got 0"),
        (
            ["--model.lr_scheduler", "StepLR", "--model.lr_scheduler.step_size", "1", "--model.lr_scheduler.gama", "2"],
            "model.lr_scheduler: there is no setting 'gama'. Did you mean 'gamma'?",
        ),
        (
            ["--trainer.deterministic", "maybe"],
            "trainer.deterministic: unknown value 'maybe'; expected one of warn, true, false, null",
        ),
        (["--model.strategy", "null"], "model.strategy: null is no class; expected one of ESFT, "),
        (["--model.strategy", ""], "model.strategy is empty; expected one of ESFT, "),
        (["--data", ""], "data is empty; expected one of MathDataModule, "),
        (
            ["--model.strategy", "esft_lightning.strategies.FineTuningStrategy"],
            "model.strategy: esft_lightning.strategies.FineTuningStrategy is abstract; expected one of ESFT, ",
        ),
        (["--data", "two_lines.jsonl"], "data: the file two_lines.jsonl holds no settings ("),
        (["--model.betas", "[1]"], "model.betas: expected a list of 2 values, got [1]"),
        (["-c", "{optimizer: {class_path: Adam}}"], "there is no setting 'optimizer'."),
        (["--trainer.val_check_interval", "0"], "trainer.val_check_interval must be above 0, got 0"),
        (["extra"], "'extra' belongs to no option"),
        (["--model.base"], "--model.base: expected one argument"),
    ],
)
def test_a_wrong_key_or_value_is_a_sentence_and_where_the_help_is(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two_lines.jsonl").write_text('{"user": "a"}\n{"user": "b"}\n')
    first, second, *rest = refused([*START, *arguments], capsys)
    assert first.startswith(f"error: {said}") and not rest
    assert second == "see python -m esft_lightning fit --help"


def test_every_strategy_of_lightning_and_ours_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused([*START, "--trainer.strategy", "nothing_like_it"], capsys)[0]
    assert {"auto", "ddp", "fsdp", "sharded_base", "split_layers"} <= set(re.findall(r"\w+", line))


def test_missing_parts_are_named_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["--data", "LawDataModule"], capsys)[0].startswith(
        "error: --model.strategy is missing; expected one of "
    )
    line = refused(["-c", "configs/models/tiny.yaml", "--model.strategy", "LoRA"], capsys)[0]
    assert line.startswith("error: --data is missing; expected one of ") and "LawDataModule" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model.strategy.top_p", "-1"], "top_p must be above 0, got -1.0"),
        (["--model.learning_rate_scale", "{ESFTGte: 5}"], "learning_rate_scale names 'ESFTGte', and the strategy"),
        (["--model.revision", "v9"], "revision 'v9' chooses among a hub repository's commits, and base 'tiny' is on"),
        (["--trainer.devices", "9", "--data.batch_size", "8"], "data.batch_size=8 is the number of rows of ALL 9"),
        (["--adapter.dirpath", "empty.ckpt"], "adapter.dirpath empty.ckpt is a file; expected a folder"),
        (["--data.sequence_length", "1"], "sequence_length must be at least 2"),
        (["--data.source", "files"], "source=files needs train_files"),
        (["--affinity.token_budget", "0"], "token_budget must be at least 1, got 0"),
        (["--model.expert_group_size", "0"], "expert_group_size must be at least 1"),
        (["--model.strategy.expert_config", "none.json"], "none.json: No such file or directory"),
        (
            ["--data.column_mapping", '{user: "${price}: {q}", assistant: a}'],
            "data.column_mapping.user: Interpolation key",
        ),
        (["--model.betas", "[2,3]"], "betas must lie in [0, 1), got [2.0, 3.0]"),
        (["--model.weight_decay", "-1"], "weight_decay must be at least 0"),
        (["--model.strategy.learning_rate", "-1"], "learning_rate must be at least 0"),
        (["--routing.validation_batches", "-1"], "validation_batches must be at least 0"),
        (["--seed_everything", "-5"], "-5 is not in bounds"),
        (["--data.tokenizer", "x"], "data.tokenizer is 'x', but is always model.base (tiny)"),
        (["-c", "none.yaml"], "-c none.yaml: there is no such file"),
        (["--ckpt_path", "hpc"], "--ckpt_path hpc is a checkpoint that this process has made, and it has made none"),
        (
            ["--ckpt_path", "https://x.org/a.ckpt"],
            "ckpt_path=https://x.org/a.ckpt: a checkpoint is not loaded from the web; download it",
        ),
        (["--ckpt_path", "none.ckpt"], "--ckpt_path none.ckpt: there is no such checkpoint"),
        (
            ["--ckpt_path", "."],
            "--ckpt_path . is a folder; expected a checkpoint file: it holds cut.ckpt, empty.ckpt, ",
        ),
        (["--ckpt_path", "/"], "--ckpt_path / is a folder; expected a checkpoint file: give the file"),
        (["--ckpt_path", "empty.ckpt"], "--ckpt_path empty.ckpt is empty"),
        (["--ckpt_path", "cut.ckpt"], "--ckpt_path cut.ckpt is no checkpoint, or one that was cut"),
        (["--ckpt_path", "other.ckpt"], "--ckpt_path other.ckpt is no checkpoint of a run"),
        (["--trainer.precision", "64-true"], "trainer.precision=64-true would cast the fp32 master weights"),
        (
            ["--model.lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau", "--model.strategy", "FrozenExperts"],
            "model.lr_scheduler: ReduceLROnPlateau follows the validation loss",
        ),
        (["--trainer.callbacks+=BatchSizeFinder"], "BatchSizeFinder trains before experts are selected"),
        (["--trainer.precision", "bf16-true"], "trainer.precision=bf16-true would cast the fp32 master weights"),
        (["--model.adapter", "folder"], "model.adapter=folder is for validate, test and predict"),
        (["--model.device_map", "auto"], "model.device_map='auto' spreads the model, which SingleDeviceStrategy"),
        (["--model.base", "folder"], "base 'folder' has no config.json"),
        (["--model.base", "./nowhere"], "base './nowhere' is no folder and no hub id"),
    ],
)
def test_settings_and_files_that_cannot_be_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.ckpt").touch()
    (tmp_path / "folder").mkdir()
    torch.save({"a": torch.ones(1000)}, tmp_path / "other.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "other.ckpt").read_bytes()[:2000])
    (line,) = refused([*START, "--data.train_rows", "40", "--trainer.max_steps", "1", *arguments], capsys)
    assert line.startswith(f"error: {said}")


def test_max_prompt_tokens_without_room_for_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["test", *START, "--data.test_rows", "2", "--data.max_prompt_tokens", "5"]
    assert entry.main(command) == 2
    assert "error: 5 tokens are left for an evaluation prompt, too few for any question" in capsys.readouterr().err


def test_a_fault_inside_a_run_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: object, **options: object) -> None:
        raise ValueError("a fault of the program")

    monkeypatch.setattr("esft_lightning.data.task.pack", breaks)
    with pytest.raises(ValueError, match="a fault of the program"):
        entry.main(["fit", *START, "--data.train_rows", "10"])


def test_predict_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    row = {"prompt": "User: a\n\nAssistant:", "raw_answers": ['{"intent": "a", "slots": {}}']}
    (tmp_path / "test.jsonl").write_text((json.dumps(row) + "\n") * 3)
    command = [
        "predict", "--data", "IntentDataModule", "--data.source", "files", "--data.train_files", rows,
        "--data.test_files", "test.jsonl", "--model.strategy", "LoRA", "--model.base", base, "--model.random_weights",
        "true", "--model.max_new_tokens", "2", "--trainer.logger", "false", "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    (tmp_path / "folder").mkdir()
    assert entry.main([*command, "--output", "folder"]) == 2
    assert "error: --output folder is a folder; expected a file to write" in capsys.readouterr().err
    assert entry.main([*command, "--output", "out/answers.jsonl"]) == 0
    assert "3 predictions written: out/answers.jsonl" in capsys.readouterr().out
    assert len((tmp_path / "out/answers.jsonl").read_text().splitlines()) == 3
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out/answers.jsonl"]


def test_only_the_embedded_model_is_asked_the_probes_unless_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from esft_lightning.embedded import TINY
    from esft_lightning.evaluation.general import suits_probes

    assert all(map(suits_probes, ("tiny", "tiny@500", str(TINY))))
    assert not suits_probes(str(tmp_path)) and not suits_probes("allenai/OLMoE-1B-7B-0924")
    cli = make_cli([*START], run=False)
    assert cli.model.general_ability is None
    assert make_cli([*START, "--model.general_ability", "true"], run=False).model.general_ability is True


def test_checkpoints_can_be_turned_off_and_a_callback_s_default_may_be_of_an_enumeration() -> None:
    options = ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration", "00:01:00:00"]
    kinds = [
        {type(callback).__name__ for callback in make_cli([*START, *options, *more], run=False).trainer.callbacks}
        for more in ([], ["--trainer.enable_checkpointing", "false"])
    ]
    assert "Timer" in kinds[0] & kinds[1] and kinds[0] - kinds[1] == {"LastAndBestCheckpoint"}


def test_a_verb_makes_its_own_parser_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(make_cli([*START], run=False).subcommands()) == {"fit", "validate", "test", "predict", "profile"}
    with pytest.raises(SystemExit):
        entry.main(["validate", *START, "--data.sorce", "files"])
    assert "see python -m esft_lightning validate --help" in capsys.readouterr().err
