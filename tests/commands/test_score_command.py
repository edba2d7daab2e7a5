"""The verb `score`: published completions, tables, files and errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esft_lightning.__main__ import main
from esft_lightning.data.rows import DataError
from esft_lightning.scoring import sandbox
from esft_lightning.scoring.completions import read_completions
from esft_lightning.scoring.sandbox import Verdict

ALLOWED = "--allow-code-execution", "--allow-weaker-sandbox"  # the second for machines without all walls


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
    from esft_lightning.tasks import law_score as law
    from esft_lightning.tasks import summary_score as summary
    from esft_lightning.tasks import translation_score as translation

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
    report = _score(tmp_path, "--task", "code", "--completions", file, "--pass-at", "1", "2", *ALLOWED)
    assert report["pass@1"] == pytest.approx(0.5)
    assert report["pass@2"] == pytest.approx(1 - 1 / 6)
    assert main(["score", "--task", "code", "--completions", file, "--pass-at", "9", *ALLOWED]) == 2
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

    from esft_lightning.commands.score import average_ranks

    rng = np.random.default_rng(0)
    values, drawn = rng.integers(0, 20, 200) / 7, rng.integers(0, 200, (5, 200))
    assert (average_ranks(values, drawn) == rankdata(values[drawn], axis=1)).all()


def test_rank_correlation_is_that_of_scipy_and_lies_in_its_interval():
    import numpy as np
    from scipy.stats import spearmanr

    from esft_lightning.commands.score import rank_correlation

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


@pytest.mark.parametrize("bad", [1.5, True, ["H/7"], {"id": 7}])
def test_an_id_of_a_wrong_kind_is_named(tmp_path: Path, bad: object):
    row = {"tests": ["assert f(1)"], "entry_point": "f", "task_id": bad, "prediction": "a"}
    with pytest.raises(DataError, match=r"c\.jsonl:1: 'task_id' is .*expected a text or a number"):
        read_completions(_completions(tmp_path, [row]), code=True)


@pytest.mark.parametrize(("task", "key"), [("law", "raw_answers"), ("code", "tests")])
def test_references_and_tests_are_texts_or_the_line_is_named(tmp_path: Path, task: str, key: str):
    good = {"prediction": "x", "raw_answers": ["y"], "tests": ["assert f()"], "entry_point": "f"}
    for bad in ({"a": 1}, [3], [["y"]]):
        path = _completions(tmp_path, [good, {**good, key: bad}])
        with pytest.raises(DataError, match=rf"c\.jsonl:2: .*'{key}' is .*expected a list of texts"):
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


@pytest.mark.parametrize(
    "missing", [{}, {"task_id": None}, {"task_id": float("nan")}, {"task_id": " ", "prompt": None}]
)
def test_problems_without_an_id_are_problems_of_their_own(tmp_path: Path, capsys, missing: dict):
    row = {**missing, "entry_point": "f", "tests": ["assert f(2) == 4"]}
    rows = [{**row, "completion": code} for code in ("def f(x): return 4", "def f(x): return 5")]
    file = _completions(tmp_path, rows)
    assert len({completion.problem for completion in read_completions(file, code=True)}) == 2
    assert main(["score", "--task", "code", "--completions", file, "--pass-at", "2", *ALLOWED]) == 2
    assert "at least 2 answers" in capsys.readouterr().err
    report = _score(tmp_path, "--task", "code", "--completions", file, *ALLOWED)
    assert report["pass@1"] == pytest.approx(0.5)


def test_answers_with_one_id_or_prompt_belong_together(tmp_path: Path):
    row = {"entry_point": "f", "tests": ["assert f(2) == 4"], "completion": "def f(x): return 4"}
    ids = [{"task_id": 0}, {"task_id": 0}, {"task_id": "a"}, {"prompt": "p"}, {"prompt": "p", "task_id": None}]
    file = _completions(tmp_path, [{**row, **keys} for keys in ids])
    first, second, third, fourth, fifth = (completion.problem for completion in read_completions(file, code=True))
    assert first == second
    assert fourth == fifth
    assert len({first, third, fourth}) == 3


def test_the_output_holds_the_reason_of_every_verdict(tmp_path: Path, capsys):
    row = {"entry_point": "f", "tests": "assert f(2) == 4"}
    codes = ["def f(x): return 4", "def f(x): return 5", "import numpy\ndef f(x): return 4", "def f(x): return 1 / 0"]
    file = _completions(tmp_path, [{**row, "completion": code} for code in codes])
    output = tmp_path / "rows.jsonl"
    _score(tmp_path, "--task", "code", "--completions", file, *ALLOWED, "--output", str(output))
    reasons = [json.loads(line)["reason"] for line in output.read_text().splitlines()]
    assert reasons[0] == "passed"
    assert reasons[1] == "test 1: AssertionError: "
    assert "needs the package numpy" in reasons[2]
    assert "ZeroDivisionError" in reasons[3]
    assert "1 of 4 programs or their tests need packages that the sandbox does not have" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"completion": "x", "raw_answers": [3]}, "'raw_answers' is [3]; expected a list of texts"),
        ({"completion": "x", "raw_answers": {"a": 1}}, "'raw_answers' is {'a': 1}; expected a list of texts"),
    ],
)
def test_references_that_are_no_texts_are_named_by_file_and_line(tmp_path: Path, capsys, row: dict, message: str):
    file = _completions(tmp_path, [{"completion": "x", "raw_answers": "x"}, row])
    for task in ("law", "math", "translation", "summary"):
        assert main(["score", "--task", task, "--completions", file]) == 2
        assert f"{file}:2: {message}" in capsys.readouterr().err


def test_a_code_row_without_tests_is_named_by_file_and_line(tmp_path: Path, capsys):
    file = _completions(tmp_path, [{"completion": "x", "entry_point": "f"}])
    assert main(["score", "--task", "code", "--completions", file, *ALLOWED]) == 2
    assert f"{file}:1: a code row needs 'tests'" in capsys.readouterr().err


def test_walls_that_the_system_lacks_are_refused_or_said_on_terminal_and_in_the_report(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    row = {"entry_point": "f", "tests": "assert f(2) == 4", "completion": "def f(x): return 4"}
    command = ["--task", "code", "--completions", _completions(tmp_path, [row]), ALLOWED[0]]
    missing = ("file system (Landlock): Function not implemented", "system calls (seccomp): Invalid argument")
    monkeypatch.setattr(sandbox, "missing_walls", lambda: missing)
    ran = []
    monkeypatch.setattr(sandbox, "_run", lambda jobs, *rest: ran.append(jobs) or [Verdict(True, "passed", missing)])
    sandbox._say.cache_clear()
    assert main(["score", *command]) == 2
    told = capsys.readouterr()
    assert not ran
    assert all(wall in told.err for wall in missing) and "--allow-weaker-sandbox" in told.err
    report = _score(tmp_path, *command, ALLOWED[1])
    assert len(ran) == 1
    assert report["missing_walls"] == list(missing) and report["metrics"][0]["mean"][0] == 1.0
    assert all(wall in caplog.text for wall in missing), "a warning without a handler goes to the terminal"
    monkeypatch.undo()
    sandbox._say.cache_clear()


def test_a_system_with_every_wall_needs_no_leave_and_text_tasks_ask_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    row = {"entry_point": "f", "tests": "assert f(2) == 4", "completion": "def f(x): return 4"}
    code = ["--task", "code", "--completions", _completions(tmp_path, [row], "code.jsonl"), ALLOWED[0]]
    monkeypatch.setattr(sandbox, "missing_walls", lambda: ())
    assert _score(tmp_path, *code)["missing_walls"] == []
    monkeypatch.setattr(sandbox, "missing_walls", lambda: pytest.fail("no code is run"))
    file = _completions(tmp_path, [{"completion": "x", "raw_answers": ["x"]}])
    assert "missing_walls" not in _score(tmp_path, "--task", "law", "--completions", file)
