"""The published forms: rows as their makers have them become training and evaluation rows without a mapping."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from esft_lightning.data import CodeDataModule, IntentDataModule, MathDataModule
from esft_lightning.data.formats import FORMS, recognised
from esft_lightning.data.rows import DataError
from esft_lightning.metrics.code import mbpp_sample, score_code

MBPP = {"code": "def one():\n    return 1", "test_list": ["assert one() == 1"]}
ROWS: dict[str, dict[str, Any]] = {
    "Alpaca with input": {"instruction": "Sort.", "input": "3 1 2", "output": "1 2 3"},
    "Alpaca": {"instruction": "Write a Python function f.", "input": "", "output": "```python\ndef f(): pass\n```"},
    "MetaMathQA": {"type": "GSM_Rephrased", "query": "What is 2 + 2?", "response": "4\nThe answer is: 4"},
    "MATH with answer": {"problem": "Find $x$.", "solution": "So \\boxed{3}.", "answer": "3", "level": 1},
    "MATH": {"problem": "Find $x$.", "solution": "So \\boxed{3}.", "type": "Algebra"},
    "GSM8K": {"question": "How many?", "answer": "1 + 1 = 2\n#### 2"},
    "HumanEval": {
        "task_id": "H/0",
        "prompt": "def one():\n",
        "canonical_solution": "    return 1\n",
        "test": "def check(f):\n    assert f() == 1\n",
        "entry_point": "one",
    },
    "MBPP": {"task_id": 7, "text": "Write one.", "test_setup_code": "", **MBPP},
    "MBPP, sanitized": {"task_id": 7, "prompt": "Write one.", "test_imports": ["import math"], **MBPP},
}


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


def test_every_form_has_an_example_here_and_is_told_by_its_columns() -> None:
    assert [form.name for form in FORMS] == list(ROWS)
    for form in FORMS:
        assert recognised(ROWS[form.name], "train") == form.train, form.name
    assert recognised({"messages": [], "question": "", "answer": ""}, "train") == {}
    assert recognised({"prompt": "p", "raw_answers": ["a"], "code": "", "test_list": []}, "test") == {}
    assert recognised({"title": "t"}, "train") == {}


@pytest.mark.parametrize("name", ["MetaMathQA", "GSM8K", "MATH", "MATH with answer"])
def test_math_trains_and_is_asked_as_published(tmp_path: Path, name: str) -> None:
    data = module(MathDataModule, tmp_path, [ROWS[name]] * 3, [ROWS[name]], decontaminate=0)
    (row, *_) = data._training_rows()
    question, answer = list(ROWS[name].values())[:2] if name != "MetaMathQA" else list(ROWS[name].values())[1:3]
    assert [message["content"] for message in row.messages] == [question, answer]
    (sample,) = data.test_samples
    assert sample["prompt"] == f"User: {question}\n\nAssistant:"
    assert sample["raw_answers"] == [ROWS[name].get("answer", answer)]


def test_code_takes_python_rows_and_both_benchmarks(tmp_path: Path) -> None:
    other = {"instruction": "Write a Rust function.", "output": "fn main() {}"}
    train = [ROWS["Alpaca"], other, ROWS["HumanEval"], ROWS["MBPP"]]
    test = [ROWS["HumanEval"], ROWS["MBPP"], ROWS["MBPP, sanitized"]]
    data = module(CodeDataModule, tmp_path, train, test, decontaminate=0)
    rows = data._training_rows()
    assert len(rows) == 3, "the Rust row is left out"
    assert rows[1].messages[1]["content"] == "def one():\n    return 1\n"
    for sample in data.test_samples:
        assert sample["entry_point"] == "one"
        assert score_code(sample["raw_answers"][0], sample, allow_code_execution=True) == 1.0
        assert score_code("def one():\n    return 2", sample, allow_code_execution=True) == 0.0
    assert "assert one() == 1" in data.test_samples[1]["prompt"]


def test_an_mbpp_row_whose_tests_call_nothing_of_its_own_is_named(tmp_path: Path) -> None:
    bad = {**ROWS["MBPP"], "test_list": ["assert two() == 2"]}
    with pytest.raises(ValueError, match="MBPP row 7: its tests call none of the functions in 'code'"):
        mbpp_sample(bad)
    data = module(CodeDataModule, tmp_path, [ROWS["MBPP"]], [ROWS["MBPP"], bad])
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
