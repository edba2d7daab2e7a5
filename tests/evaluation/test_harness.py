"""The harness asked about our models, offline: on the task folder that comes along, with and without an adapter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from esft_lightning.__main__ import main
from esft_lightning.adapters import save_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.commands.evaluate import REPORT_FILE, with_scores
from esft_lightning.comparison import RunResult, RunSpec
from esft_lightning.embedded.general_probes import probes
from esft_lightning.evaluation import generate, option_scores
from esft_lightning.evaluation.harness import (
    ALIASES,
    HarnessError,
    TaskScore,
    evaluate_tasks,
    load_tasks,
    task_manager,
)
from esft_lightning.moe import load_model, load_tokenizer, model_fingerprint
from esft_lightning.scoring.general import score_recall
from esft_lightning.strategies import ESFTToken, trained_parameters

ROWS = 8
PAPER = ("cluewsc", "triviaqa", "ifeval", "mmlu", "ceval", "hellaswag", "arc_challenge")


@pytest.fixture(scope="module")
def manager() -> Any:
    torch.set_num_threads(1)
    return task_manager()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that spoils the experts of every layer that answer most."""
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    model = load_model("tiny", dtype="float32")
    fingerprint = model_fingerprint(model)
    strategy = ESFTToken()
    selection = ExpertSelection({layer: list(range(32)) for layer in range(1, 5)})
    strategy.apply(model, selection)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.mul_(-3)
    save_adapter(model, folder, strategy="ESFTToken", base="tiny", base_fingerprint=fingerprint, selection=selection)
    return folder


def test_the_papers_benchmarks_have_names_in_the_harness(manager: Any) -> None:
    assert [name for name in PAPER if ALIASES.get(name, name) not in manager.task_index] == []


def test_scores_are_those_of_our_own_probes_row_by_row(manager: Any) -> None:
    model, tokenizer = load_model("tiny", dtype="float32"), load_tokenizer("tiny")
    names = ["esft_recall", "esft_continuation", "esft_multiple_choice", "esft_reference"]
    found = evaluate_tasks(model, tokenizer, load_tasks(manager, names), manager, limit=ROWS)
    assert [score.name for score in found] == names
    for score, (probe, rows) in zip(found, list(probes(ROWS).items())[:4], strict=True):
        assert score.name == f"esft_{probe}"
        assert list(score.scores) == right_answers(model, tokenizer, rows), probe
        assert score.value == pytest.approx(sum(score.scores) / ROWS)
        assert score.rows == ROWS


def right_answers(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[float]:
    """By our own means: generated answers, and options by their summed likelihood, which is the harness's rule."""
    prompts = [row["prompt"] for row in rows]
    if "raw_answers" in rows[0]:
        answers = generate(model, tokenizer, prompts, max_new_tokens=20)
        return [float(score_recall(answer, row)) for answer, row in zip(answers, rows, strict=True)]
    means = option_scores(model, tokenizer, prompts, [row["options"] for row in rows])
    right = []
    for row, values in zip(rows, means, strict=True):
        lengths = [len(tokenizer(option, add_special_tokens=False)["input_ids"]) for option in row["options"]]
        sums = [value * length for value, length in zip(values, lengths, strict=True)]
        right.append(float(sums.index(max(sums)) == row["answer"]))
    return right


def test_the_verb_shows_what_an_adapter_changed_and_leaves_the_base_alone(
    tmp_path: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--base", "tiny", "--adapter", str(adapter), "--tasks", "esft_general,esft_reference", "--limit", "4"]
    assert main(["evaluate", *options, "--against-base", "--output", str(tmp_path)]) == 2
    assert "Duplicate task" in capsys.readouterr().err
    options[5] = "esft_general"
    assert main(["evaluate", *options, "--against-base", "--output", str(tmp_path)]) == 0
    assert "change" in capsys.readouterr().out
    report = json.loads((tmp_path / REPORT_FILE).read_text())
    (score,), (base,) = report["scores"], report["base_scores"]
    assert score["name"] == base["name"] == "esft_general"
    assert len(score["scores"]) == score["rows"] == 4 * 4
    assert score["value"] == pytest.approx(sum(score["scores"]) / 16)
    assert base["value"] > score["value"], "spoilt experts cost ability"
    assert {"lm_eval", "torch"} <= set(report["versions"])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Scalars("general/esft_general")[0].value == pytest.approx(score["value"])


def test_wrong_names_are_refused_together_with_the_nearest_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", "--base", "no/such-model", "--tasks", "hellaswg", "esft_generl"]) == 2
    said = capsys.readouterr().err
    assert "'hellaswg': the harness has no such task; did you mean 'hellaswag'" in said
    assert "'esft_general'" in said


def test_data_that_cannot_be_had_are_named_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: /no/such/rows.jsonl}\ntest_split: train\n"
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: [a, b]\ndoc_to_target: 0\n"
    )
    options = ["--tasks", "mine", "--include-path", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(["evaluate", "--base", "no/such-model", *options]) == 2
    assert "'mine': its data set json cannot be loaded (FileNotFoundError" in capsys.readouterr().err
    assert main(["evaluate", "--tasks", "mine", "--include-path", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_code_is_run_with_leave_only(manager: Any) -> None:
    class Unsafe:
        UNSAFE_CODE = True
        config = None

    with pytest.raises(HarnessError, match="humaneval would run what the model wrote"):
        evaluate_tasks(None, None, {"humaneval": {"tasks": {"humaneval": Unsafe()}}}, manager)  # type: ignore[arg-type]


def test_scores_join_a_runs_result_where_tables_look_for_them() -> None:
    run = RunResult(RunSpec("law", "ESFTToken", steps=1), "finished", "key", before={"task": 0.1}, after={"task": 0.5})
    scores = [TaskScore("mmlu", "acc", 0.5, 0.01, 2, (1.0, 0.0)), TaskScore("ifeval", "acc", 0.3, None, 9)]
    joined = with_scores(run, scores, [TaskScore("mmlu", "acc", 0.6, 0.01, 2)])
    assert joined.after == {"task": 0.5, "general/mmlu": 0.5, "general/ifeval": 0.3, "general/average": 0.4}
    assert joined.before == {"task": 0.1, "general/mmlu": 0.6, "general/average": 0.6}
    assert joined.rows == {"general/mmlu": [1.0, 0.0]}
    assert with_scores(joined, scores[:1], []).after == joined.after, "again changes nothing"


def test_help_starts_without_torch_and_the_harness() -> None:
    code = (
        "import sys; from esft_lightning.__main__ import main\n"
        "try: main(['evaluate', '--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'lm_eval', 'transformers') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
