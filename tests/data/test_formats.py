"""The published forms: rows as their makers have them become training and evaluation rows without a mapping."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from published_rows import ROWS as PUBLISHED

from esft_lightning.data.formats import FORMS, form_of
from esft_lightning.data.reading import read_rows
from esft_lightning.data.rows import DataError, check_messages
from esft_lightning.data.samples import check_sample
from esft_lightning.tasks import CodeDataModule, IntentDataModule, MathDataModule
from esft_lightning.tasks.code_score import mbpp_sample, score_code

ROWS = {name: record for name, (record, _, _) in PUBLISHED.items()}
PYTHON = {"instruction": "Write a Python function f.", "output": "```python\ndef f(): pass\n```"}


def written(path: Path, *rows: dict[str, Any]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


def module(kind: type, folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]], **more: Any) -> Any:
    files = {
        "train_files": written(folder / "train.jsonl", *train),
        "test_files": written(folder / "test.jsonl.gz", *test),
    }
    return kind(source="files", **files, cache_dir=None, val_fraction=0, **more)


def read(record: dict[str, Any], purpose: Any = "train") -> Any:
    return read_rows(
        [("f.jsonl:1", record)], check_messages if purpose == "train" else check_sample, "error", None, purpose
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_row_trains_with_its_makers_columns_and_none_is_lost_without_a_count(name: str) -> None:
    record, texts, unused = PUBLISHED[name]
    reading = read(record)
    (row,) = reading.rows
    assert [message["content"] for message in row.messages] == texts
    assert not any("mask" in message for message in row.messages)
    assert reading.unused == dict.fromkeys(unused, 1)


def test_every_form_is_told_by_a_published_row() -> None:
    told = {form.name for record, _, _ in PUBLISHED.values() if (form := form_of(record, "train")) is not None}
    assert told == {form.name for form in FORMS}
    assert form_of({"messages": [{}], "question": "q", "answer": "a"}, "train") is None
    assert form_of({"messages": None, "question": "q", "answer": "a"}, "train") is not None
    assert form_of({"prompt": "p", "raw_answers": ["a"], "code": "c", "test_list": ["t"]}, "test") is None
    assert form_of({"title": "t"}, "train") is None


def test_published_rows_are_asked_too_unless_a_question_has_no_place_for_what_they_hold() -> None:
    refused = {name: f"key '{key}' bears meaning" for name, key in {
        "OpenOrca": "system_prompt", "OpenHermes 2.5": "system_prompt", "OpenThoughts": "system",
        "LLaMA-Factory's Alpaca": "system",
    }.items()} | {"SlimOrca": "one question and one right answer"}  # fmt: skip
    for name, (record, texts, _) in PUBLISHED.items():
        if name.startswith(("HumanEval", "MBPP")):
            continue  # by the code task, below
        if name in refused:
            with pytest.raises(DataError, match=refused[name]):
                read(record, "test")
            continue
        (sample,) = read(record, "test").rows
        assert sample["prompt"] == f"User: {texts[0]}\n\nAssistant:", name
        expected = record.get("expected_answer", record.get("answer", texts[1]))
        assert sample["raw_answers"] == [expected], name


@pytest.mark.parametrize("name", ["MetaMathQA", "GSM8K", "MATH", "MATH-500"])
def test_math_trains_and_is_asked_as_published(tmp_path: Path, name: str) -> None:
    record, texts, unused = PUBLISHED[name]
    data = module(MathDataModule, tmp_path, [record] * 3, [record], decontaminate=0)
    (row, *_) = data._training_rows()
    assert [message["content"] for message in row.messages] == texts
    (sample,) = data.test_samples
    assert sample["prompt"] == f"User: {texts[0]}\n\nAssistant:"
    assert sample["raw_answers"] == [record.get("answer", texts[1])]
    assert data.report["unused_keys"]["train"] == dict.fromkeys(unused, 3)


def test_code_takes_ones_own_rows_whole_and_both_benchmarks(tmp_path: Path) -> None:
    other = {"instruction": "Write a Rust function.", "output": "fn main() {}"}
    train = [PYTHON, other, ROWS["HumanEval"], ROWS["MBPP"]]
    test = [ROWS["HumanEval"], ROWS["MBPP"], ROWS["MBPP, sanitized"]]
    data = module(CodeDataModule, tmp_path, train, test, decontaminate=0)
    rows = data._training_rows()
    assert len(rows) == 4, "nobody's own rows are left out by a word"
    assert rows[2].messages[1]["content"] == "def one():\n    return 1\n"
    for sample in data.test_samples:
        assert sample["entry_point"] == "one"
        assert score_code(sample["raw_answers"][0], sample, allow_code_execution=True) == 1.0
        assert score_code("def one():\n    return 2", sample, allow_code_execution=True) == 0.0
    assert "assert one() == 1" in data.test_samples[1]["prompt"]


def test_rows_of_the_published_set_that_are_not_python_are_left_out_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [PYTHON, {"instruction": "Write it in Rust.", "output": "fn main() {}"}, PYTHON, {"instruction": None}]
    records = [(f"evol row {number}", row) for number, row in enumerate(rows)]
    monkeypatch.setattr("esft_lightning.data.task.hub_records", lambda dataset: iter(records))
    data = CodeDataModule("hub", cache_dir=None, decontaminate=0, val_fraction=0)
    with caplog.at_level("INFO", "esft_lightning"):
        data.setup("fit")
    assert data.report["train_rows"] == 2 and data.report["train_rows_left_out"] == 2
    assert re.search(r"left out: not of this task\W+2\b", caplog.text), "in the data report, too"
    assert "2 train rows are left out as none of this task's, the first: evol row 1" in caplog.text
    own = CodeDataModule("hub", hub_id="me/mine", cache_dir=None, on_bad_row="skip")
    assert len(own._training_rows()) == 3 and own.report["train_rows_left_out"] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"code": "def f(): pass", "test_list": ["assert f()"]}, "an MBPP row needs 'text' or 'prompt'"),
        ({"text": "Write.", "code": 3, "test_list": ["assert f()"]}, "column 'code' is a int"),
        ({"text": "Write.", "code": "def f(): pass", "test_list": [3]}, "'test_list' is .*expected a list"),
        ({"prompt": "def f():\n", "test": "def check(f): pass", "entry_point": "f"}, "'raw_answers' is missing"),
        ({"prompt": "q", "raw_answers": ["a"], "tests": [1], "entry_point": "f"}, "'tests' is .*expected a list"),
    ],
)
def test_a_bad_code_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    data = module(CodeDataModule, tmp_path, [PYTHON], [ROWS["MBPP"], row])
    with pytest.raises(DataError, match=r"test\.jsonl\.gz:2: .*" + message):
        _ = data.test_samples


def test_one_test_as_a_text_is_one_test(tmp_path: Path) -> None:
    one = {
        "prompt": "Write one.",
        "raw_answers": "def one(): return 1",
        "tests": "assert one() == 1",
        "entry_point": "one",
    }
    both = [one, {**ROWS["MBPP"], "test_list": "assert one() == 1"}]
    data = module(CodeDataModule, tmp_path, [PYTHON], both)
    for sample in data.test_samples:
        assert sample["tests"] == ["assert one() == 1"]
        assert score_code("def one(): return 1", sample, allow_code_execution=True) == 1.0
    assert score_code("def one(): return 1", one, allow_code_execution=True) == 1.0, "by the scorer alone, too"


def test_an_mbpp_row_whose_tests_call_nothing_of_its_own_is_named(tmp_path: Path) -> None:
    bad = {**ROWS["MBPP"], "test_list": ["assert two() == 2"]}
    with pytest.raises(ValueError, match="MBPP row 7: its tests call none of the functions in 'code'"):
        mbpp_sample(bad)
    data = module(CodeDataModule, tmp_path, [PYTHON], [ROWS["MBPP"], bad])
    with pytest.raises(DataError, match=r"test\.jsonl\.gz:2: MBPP row 7"):
        _ = data.test_samples


def test_a_form_that_nobody_knows_is_named_with_its_columns(tmp_path: Path) -> None:
    data = module(MathDataModule, tmp_path, [{"title": "t", "body": "b"}], [ROWS["GSM8K"]])
    with pytest.raises(DataError, match=r"train\.jsonl:1: 'messages' is missing; .*GSM8K.*the row has title, body"):
        data.setup("fit")


def test_published_files_are_taken_as_they_are(reference_data: Path) -> None:
    folder = reference_data
    math = MathDataModule(
        source="files",
        train_files=str(folder / "math/gsm8k_train.jsonl"),
        test_files=str(folder / "math/math500.jsonl"),
        cache_dir=None,
    )
    assert len(math._training_rows()) == 7473
    assert len(math.test_samples) == 500
    assert math.test_samples[0]["raw_answers"] == ["\\left( 3, \\frac{\\pi}{2} \\right)"]
    code = CodeDataModule(
        source="files",
        train_files=str(folder / "code/mbpp_release_v1.jsonl"),
        test_files=str(folder / "code/HumanEval.jsonl.gz"),
        cache_dir=None,
    )
    assert len(code._training_rows()) == 974
    assert len(code.test_samples) == 164
    intent = IntentDataModule(
        source="files",
        train_files=str(folder / "esft/train/intent.jsonl"),
        test_files=str(folder / "esft/eval/intent.jsonl"),
        cache_dir=None,
    )
    rows = intent._training_rows()
    assert len(rows) == 7280
    assert len(intent._clean(rows)) < 7280
    assert intent.report["contaminated_rows"] >= 1
