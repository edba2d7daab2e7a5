"""The verb `score`: published completions, tables, files and errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esft_lightning.__main__ import main
from esft_lightning.data.rows import DataError
from esft_lightning.metrics.completions import read_completions


def _completions(tmp_path: Path, rows: list[dict], name: str = "c.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _score(tmp_path: Path, *arguments: str) -> dict:
    report = tmp_path / "report.json"
    assert main(["score", *arguments, "--report", str(report)]) == 0
    return json.loads(report.read_text())


def test_the_published_intent_scores_come_out_row_by_row(reference_data: Path, tmp_path: Path):
    file = reference_data / "esft/completions/gate/intent.jsonl"
    report = _score(tmp_path, "--task", "intent", "--completions", str(file), "--output", str(tmp_path / "rows.jsonl"))
    assert report["rows"] == report["metrics"][0]["equal"] == 500
    assert report["metrics"][0]["mean"][0] == pytest.approx(0.8)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert all(row["task"] == row["recorded"] for row in rows)


@pytest.mark.parametrize(
    ("task", "judge", "chrf", "bleu", "rouge_l"),
    [("summary", 0.655, 0.647, 0.602, 0.658), ("law", 0.495, 0.582, 0.417, 0.528),
     ("translation", 0.3615, 0.456, 0.502, 0.581)],
)  # fmt: skip
def test_agreement_with_the_published_judge_scores(
    reference_data: Path, tmp_path: Path, task, judge, chrf, bleu, rouge_l
):
    file = reference_data / f"esft/completions/gate/{task}.jsonl"
    names = ("chrf", "bleu", "rouge_l")
    report = _score(tmp_path, "--task", task, "--completions", str(file), "--metrics", *names)
    found = {entry["metric"]: entry["spearman"] for entry in report["metrics"]}
    assert {name: round(found[name][0], 3) for name in names} == {"chrf": chrf, "bleu": bleu, "rouge_l": rouge_l}
    assert all(low < mean < high for mean, low, high in found.values())
    recorded = [completion.recorded for completion in read_completions(str(file))]
    assert sum(recorded) / 100 == pytest.approx(judge, abs=1e-3)


def test_the_default_metrics_are_those_that_agree_best():
    from esft_lightning.metrics import law, summary, translation

    chosen = (summary.FREE_TEXT_METRIC, law.FREE_TEXT_METRIC, translation.FREE_TEXT_METRIC)
    assert chosen == ("rouge_l", "chrf", "rouge_l")  # the highest of each row of the test above


def test_scoring_text_imports_no_torch(tmp_path: Path):
    row = {"prompt": "User: x", "completion": "the red birds", "raw_answers": ["red birds"]}
    command = f"""
import sys
from esft_lightning.__main__ import main
assert main(["score", "--task", "translation", "--completions", {_completions(tmp_path, [row])!r}]) == 0
assert "torch" not in sys.modules and "lightning" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", command], check=True, capture_output=True)


def test_answers_are_taken_under_three_names_plain_or_wrapped(tmp_path: Path):
    rows = [
        {"prediction": "#### 4", "raw_answers": ["4"]},
        {"completion": "the answer is 5", "raw_answers": ["4"]},
        {"example": {"raw_prediction": "\\boxed{4}", "raw_answers": ["4"]}},
    ]
    report = _score(tmp_path, "--task", "math", "--completions", _completions(tmp_path, rows))
    assert report["metrics"][0]["mean"][0] == pytest.approx(2 / 3)
    assert report["metrics"][0]["spearman"] is None


def test_pass_at_k_counts_problems(tmp_path: Path, capsys):
    row = {"task_id": "one", "prompt": "def f(x):\n", "entry_point": "f", "test": "def check(c):\n    assert c(2) == 4"}
    bodies = ["    return x + 2", "    return x", "    return 2 * x", "    raise ValueError"]
    rows = [{**row, "completion": body} for body in bodies]
    file = _completions(tmp_path, rows)
    assert main(["score", "--task", "code", "--completions", file]) == 2
    assert "--allow-code-execution" in capsys.readouterr().err
    report = _score(tmp_path, "--task", "code", "--completions", file, "--pass-at", "1", "2", "--allow-code-execution")
    assert report["pass@1"] == pytest.approx(0.5)
    assert report["pass@2"] == pytest.approx(1 - 1 / 6)
    assert main(["score", "--task", "code", "--completions", file, "--pass-at", "9", "--allow-code-execution"]) == 2
    assert "at least 9 answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"raw_answers": ["x"]}, "no answer; expected one of raw_prediction, prediction, completion"),
        ({"completion": 3, "raw_answers": ["x"]}, "'completion' is 3; expected a text"),
        ({"completion": "x"}, "'raw_answers' is missing"),
        ({"completion": "x", "raw_answers": ["x"], "score": "good"}, "'score' is 'good'; expected a number"),
        ({"example": "x"}, "'example' is a JSON str"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, capsys, row, message):
    good = {"completion": "x", "raw_answers": ["x"]}
    file = _completions(tmp_path, [good, row])
    assert main(["score", "--task", "law", "--completions", file]) == 2
    assert f"{file}:2: {message}" in capsys.readouterr().err


def test_text_metrics_are_refused_for_tasks_with_one_rule(tmp_path: Path, capsys):
    file = _completions(tmp_path, [{"completion": "x", "raw_answers": ["x"]}])
    assert main(["score", "--task", "intent", "--completions", file, "--metrics", "chrf"]) == 2
    assert "intent has one rule" in capsys.readouterr().err


def test_a_missing_file_is_an_error_before_anything(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read_completions(str(tmp_path / "none.jsonl"))


def test_ranks_are_those_of_scipy_in_every_resampling():
    import numpy as np
    from scipy.stats import rankdata

    from esft_lightning.metrics.score_command import average_ranks

    rng = np.random.default_rng(0)
    values, drawn = rng.integers(0, 20, 200) / 7, rng.integers(0, 200, (5, 200))
    assert (average_ranks(values, drawn) == rankdata(values[drawn], axis=1)).all()


def test_rank_correlation_is_that_of_scipy_and_lies_in_its_interval():
    import numpy as np
    from scipy.stats import spearmanr

    from esft_lightning.metrics.score_command import rank_correlation

    rng = np.random.default_rng(1)
    first = rng.integers(0, 4, 80) / 3
    second = first + rng.normal(size=80)
    found = rank_correlation(list(first), list(second))
    assert found is not None
    mean, low, high = found
    assert mean == pytest.approx(spearmanr(first, second).statistic)
    assert low < mean < high
    drawn = np.random.default_rng(0).integers(0, 80, (1000, 80))
    by_scipy = [spearmanr(first[rows], second[rows]).statistic for rows in drawn]
    assert (low, high) == pytest.approx(tuple(np.percentile(by_scipy, [2.5, 97.5])))
    assert rank_correlation([1.0] * 80, list(second)) is None


def test_problems_without_an_id_are_problems_of_their_own(tmp_path: Path):
    def passed(rows: list[dict]) -> dict[str, str]:
        path = _completions(tmp_path, rows)
        return {entry.prediction: entry.problem for entry in read_completions(path, code=True)}

    row = {"tests": ["assert f(1)"], "entry_point": "f"}
    for nothing in ({}, {"task_id": None}, {"task_id": ""}, {"task_id": None, "prompt": None}, {"prompt": ""}):
        problems = passed([{**row, **nothing, "prediction": name} for name in "ab"])
        assert len(set(problems.values())) == 2, nothing
    for same in ({"task_id": 7}, {"task_id": "H/7"}, {"task_id": None, "prompt": "p"}, {"prompt": "p"}):
        problems = passed([{**row, **same, "prediction": name} for name in "ab"])
        assert len(set(problems.values())) == 1, same
    told = passed([{**row, "task_id": "p", "prediction": "a"}, {**row, "prompt": "p", "prediction": "b"}])
    assert len(set(told.values())) == 2, "an id is not taken for a prompt"
    for bad in (1.5, True, ["H/7"], {"id": 7}):
        with pytest.raises(DataError, match=r"c\.jsonl:1: 'task_id' is .*expected a text or a number"):
            passed([{**row, "task_id": bad, "prediction": "a"}])


def test_null_ids_are_not_pooled_into_one_pass_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    row = {"task_id": None, "tests": ["assert f(1) == 2"], "entry_point": "f"}
    rows = [{**row, "prediction": "def f(x): return 2"}, {**row, "prediction": "def f(x): return 3"}]
    command = ["score", "--task", "code", "--allow-code-execution", "--completions", _completions(tmp_path, rows)]
    assert main([*command, "--pass-at", "2"]) == 2
    assert "pass@2 needs at least 2 answers to a problem; there are 1" in capsys.readouterr().err
    assert _score(tmp_path, *command[1:])["pass@1"] == 0.5


@pytest.mark.parametrize(("task", "key"), [("law", "raw_answers"), ("code", "tests")])
def test_references_and_tests_are_texts_or_the_line_is_named(tmp_path: Path, task: str, key: str):
    good = {"prediction": "x", "raw_answers": ["y"], "tests": ["assert f()"], "entry_point": "f"}
    for bad in ({"a": 1}, [3], [["y"]]):
        path = _completions(tmp_path, [good, {**good, key: bad}])
        with pytest.raises(DataError, match=rf"c\.jsonl:2: .*'{key}' is .*expected a list with at least one text"):
            read_completions(path, code=task == "code")
    report = _score(tmp_path, "--task", "law", "--metrics", "chrf", "--completions", _completions(
        tmp_path, [{"prediction": "The fine is 60 crowns.", "raw_answers": "The fine is 60 crowns."}]
    ))  # fmt: skip
    assert report["metrics"][0]["mean"][0] == report["metrics"][0]["corpus"] == pytest.approx(1.0)


def test_a_key_twice_in_a_completion_is_named(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"prediction": "a", "raw_answers": ["a"], "prediction": "b"}\n')
    with pytest.raises(DataError, match=r"c\.jsonl:1: key 'prediction' stands twice"):
        read_completions(str(path))
