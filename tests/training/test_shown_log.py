"""What the library logs reaches the person at the keyboard, and the verbs show it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from training_runs import write_base, write_rows

from esft_lightning import __main__ as entry
from esft_lightning.training.shown_log import shown_log


def test_messages_are_shown_while_the_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("esft_lightning.data.somewhere")
    level = logging.getLogger("esft_lightning").level
    log.info("before")
    with shown_log():
        log.info("read %d", 3)
        log.warning("cut %s", "5")
        log.debug("hidden")
    log.info("after")
    assert capsys.readouterr().err == "read 3\nwarning: cut 5\n"
    assert logging.getLogger("esft_lightning").level == level


def test_a_fit_and_a_test_say_what_became_of_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base, rows = write_base(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "test.jsonl").write_text('{"prompt": "' + "say it " * 100 + '", "raw_answers": ["x"]}\n')
    settings = [
        "--data", "LawDataModule", "--model.base", base, "--model.random_weights", "true", "--model.strategy",
        "FullFineTuning", "--trainer.accelerator", "cpu", "--trainer.devices", "1",
        "--trainer.enable_progress_bar", "false", "--data.sequence_length", "64", "--model.general_ability", "false",
    ]  # fmt: skip
    fit = [
        "fit",
        *settings,
        "--data.train_files",
        rows,
        "--trainer.max_steps",
        "1",
        "--trainer.val_check_interval",
        "1",
    ]
    assert entry.main(fit) == 0
    said = capfd.readouterr().err
    assert [said.count(label) for label in ("rows read", "rows skipped", "samples cut", "packed rows ", "epochs")] == [
        1
    ] * 5
    assert "warning: " in said and "lose their beginning at the end of a packed row" in said
    assert entry.main(["test", *settings, "--data.test_files", str(tmp_path / "test.jsonl")]) == 0
    said = capfd.readouterr().err
    assert said.count("questions cut") == 1 and "warning: 1 of 1 questions (100%) are longer than 416 tokens" in said
    assert "samples cut" not in said
