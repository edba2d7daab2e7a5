"""What a run says of its rows: every count as a table, and what matters in words."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chat_rows import chat, write_jsonl

from esft_lightning.data.data_report import DataReport, test_report, training_report
from esft_lightning.data.rows import DataError
from esft_lightning.tasks import LawDataModule

test_report.__test__ = False  # type: ignore[attr-defined] - not one of pytest's
COUNTS = {
    "task": "law", "source": "files", "train_rows": 98, "val_rows": 2, "train_read": 103, "train_skipped": 3,
    "skipped_rows": 3, "contaminated_rows": 1234, "train_samples": 98, "val_samples": 2, "train_cut": 0, "val_cut": 0,
    "train_tokens": 12_345, "val_tokens": 99, "train_labelled": 4_321, "val_labelled": 9, "train_packed": 40,
    "val_packed": 1, "train_without_label": 0, "long_samples": 0,
}  # fmt: skip


def fitting(**settings: Any) -> Any:
    """What a report asks of a Trainer that fits."""
    usual = {"max_steps": -1, "max_epochs": -1, "accumulate_grad_batches": 1, "limit_train_batches": 1.0}
    return SimpleNamespace(state=SimpleNamespace(fn="fit"), **(usual | settings))


def cells(report: DataReport) -> dict[str, list[str]]:
    """Label → values of a report's table."""
    lines = [line.split("│")[1:-1] for line in report.table.splitlines() if line.startswith("│")]
    return {line[0].strip(): [value.strip() for value in line[1:]] for line in lines}


def test_every_count_has_its_line() -> None:
    report = training_report(COUNTS, 512, "tail", 4, fitting(max_steps=30))
    assert report.table.splitlines()[0] == "Data of law (files)" and report.warnings == []
    assert cells(report) == {
        "rows read": ["103", "–"], "rows skipped": ["3", "–"], "rows used": ["98", "2"], "samples cut": ["0", "0"],
        "tokens": ["12,345", "99"], "labelled tokens": ["4,321", "9"], "packed rows": ["40", "1"],
        "left out: evaluation questions": ["1,234", ""], "epochs": ["3", ""],
    }  # fmt: skip
    rare = {"train_without_label": 5, "train_rows_left_out": 7, "skipped_long": 2, "validation_rows_in_general": 1}
    shown = cells(training_report(COUNTS | rare, 512, "tail", 4))
    assert shown["rows without a label"] == ["5", "–"] and shown["rows of other tasks"] == ["7", "–"]
    assert shown["longer than a packed row, skipped"] == ["2", ""] and "epochs" not in shown
    assert shown["left out: validation rows among general rows"] == ["1", ""]


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"max_steps": 30}, "3"),
        ({"max_steps": 5}, "0.5"),
        ({"max_steps": 30, "accumulate_grad_batches": 4}, "10"),  # 10 batches are 3 steps
        ({"max_epochs": 2}, "2"),
        ({"max_steps": 1_000, "max_epochs": 2}, "2"),
        ({"max_steps": 1_000}, "100"),
        ({"max_steps": 30, "limit_train_batches": 2}, "3"),
        ({"max_epochs": 5, "limit_train_batches": 0.2}, "1"),
        ({}, None),
    ],
)
def test_epochs_are_what_the_trainer_would_read(settings: dict[str, Any], epochs: str | None) -> None:
    report = training_report(COUNTS, 512, "tail", 4, fitting(**settings))
    assert cells(report).get("epochs", [None])[0] == epochs
    assert bool(report.warnings) == (settings.get("max_steps") == 1_000 and "max_epochs" not in settings)


def test_more_than_ten_epochs_and_more_than_one_sample_in_a_hundred_are_warned_of() -> None:
    ten, eleven = (training_report(COUNTS, 512, "tail", 4, fitting(max_steps=n)).warnings for n in (100, 110))
    assert ten == [] and len(eleven) == 1
    assert "reads its 40 packed rows 11 times; lower trainer.max_steps" in eleven[0]
    one, two = (training_report(COUNTS | {"train_cut": n, "long_samples": 1}, 512, "tail", 4) for n in (1, 2))
    assert one.warnings == []
    assert "2 of 100 samples (2%) lose their beginning" in two.warnings[0]
    assert "raise sequence_length=512" in two.warnings[0] and "on_overflow=next_row" in two.warnings[0]
    (whole,) = training_report(COUNTS | {"train_cut": 9, "long_samples": 9}, 512, "next_row", 4).warnings
    assert "raise sequence_length" in whole and "on_overflow" not in whole


def test_a_test_tells_what_it_asks() -> None:
    counts = {
        "task": "law", "test_rows": 200, "test_skipped": 1, "max_prompt_tokens": 4_000, "shortened_prompts": 3,
        "dropped_examples": 7, "cut_questions": 2,
    }  # fmt: skip
    report = test_report(counts)
    assert cells(report) == {
        "questions": ["200"], "rows skipped": ["1"], "longest prompt, tokens": ["4,000"],
        "few-shot examples dropped": ["7"], "questions cut": ["2"],
    }  # fmt: skip
    assert report.warnings == ["3 of 200 evaluation prompts exceed 4,000 tokens: 7 few-shot examples dropped"]
    (cut,) = test_report(counts | {"dropped_examples": 0, "cut_questions": 3}).warnings
    assert "3 of 200 questions (2%) are longer than 4,000 tokens" in cut


@pytest.fixture
def masked(tmp_path: Path, tokenizer_folder: str):
    """A DataModule of 40 rows, so many of them without a label."""

    def build(count: int, **options: Any) -> LawDataModule:
        rows = [chat(f"question {n}", f"answer {n}") for n in range(40)]
        for row in rows[:count]:
            row["messages"][1]["mask"] = 1
        path = write_jsonl(tmp_path / "rows.jsonl", rows)
        defaults = {"train_files": str(path), "tokenizer": tokenizer_folder, "val_fraction": 0.0, "cache_dir": None}
        return LawDataModule("files", **{**defaults, **options})

    return build


def test_rows_without_a_label_are_counted_and_a_file_of_them_is_refused(
    masked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "esft_lightning"):
        data = masked(13)
        data.setup("fit")
    assert data.report["train_without_label"] == 13
    assert "rows without a label │       13" in caplog.text
    with pytest.raises(DataError, match="law: no token of the training rows has a label"):
        masked(40).setup("fit")


def test_validation_and_general_rows_without_any_label_are_refused_too(
    masked: Any, tmp_path: Path, tokenizer_folder: str
) -> None:
    rows = [chat(f"other {n}", "said") for n in range(5)]
    for row in rows:
        row["messages"][1]["mask"] = 1
    path = str(write_jsonl(tmp_path / "masked.jsonl", rows))
    with pytest.raises(DataError, match="no token of the general rows has a label"):
        masked(0, general_source="files", general_files=path).setup("fit")
    with pytest.raises(DataError, match="no token of the validation rows has a label"):
        masked(0, val_files=path, val_fraction=0.02).setup("fit")


def test_an_answer_that_packing_cuts_to_nothing_is_no_label(tmp_path: Path, tokenizer_folder: str) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [chat("what", "yes", "and then", "x" * 300)])
    path.write_text(path.read_text().replace('"content": "x', '"mask": 1, "content": "x'))
    options = {"train_files": str(path), "tokenizer": tokenizer_folder, "val_fraction": 0.0, "cache_dir": None}
    with pytest.raises(DataError, match="or its answer was cut away"):
        LawDataModule("files", sequence_length=32, **options).setup("fit")
    LawDataModule("files", sequence_length=512, **options).setup("fit")


def test_testing_reads_no_training_rows(files: dict[str, Path], tokenizer_folder: str, tmp_path: Path) -> None:
    questions = write_jsonl(tmp_path / "test.jsonl", [{"prompt": "What is it?", "raw_answers": ["that"]}])
    data = LawDataModule(
        "files", train_files=str(files["train"]), test_files=str(questions), tokenizer=tokenizer_folder,
        cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    data.trainer = SimpleNamespace(state=SimpleNamespace(fn="test"), global_rank=0, world_size=1)
    data.prepare_data()
    data.setup("test")
    assert len(data.test_samples) == 1 and "train_rows" not in data.report


def test_room_for_the_answer_follows_the_module(files: dict[str, Path], tokenizer_folder: str, tmp_path: Path) -> None:
    questions = write_jsonl(tmp_path / "test.jsonl", [{"prompt": "long " * 600 + "end?", "raw_answers": ["that"]}])
    data = LawDataModule(
        "files", train_files=str(files["train"]), test_files=str(questions), tokenizer=tokenizer_folder
    )
    assert data.test_samples and data.report["max_prompt_tokens"] == 750, "no module: a quarter of 1,000 positions"
    for answer in (10, 600):
        module = SimpleNamespace(max_new_tokens=answer)
        data.trainer = SimpleNamespace(lightning_module=module, global_rank=0, world_size=1)
        (batch,) = data.test_dataloader()
        assert 0.9 * (1_000 - answer) < len(batch["prompt_ids"][0]) <= 1_000 - answer
        assert data.report["cut_questions"] == 1
    module.max_new_tokens = 1_000
    with pytest.raises(
        DataError, match="max_new_tokens=1000 leaves no room for a prompt in the model's 1000 positions"
    ):
        _ = data.test_samples
    module.max_new_tokens = 998
    with pytest.raises(DataError, match="2 tokens are left for an evaluation prompt, too few for any question"):
        _ = data.test_samples
