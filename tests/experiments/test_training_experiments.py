"""The experiments that train: their grids, and what their sections say about results that are known."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from outcomes_by_hand import outcomes_of, result_of, without
from places import ROOT

from esft_lightning.comparison import RunResult, RunSpec, build_grid, write_archive
from esft_lightning.comparison.archive import read_archive
from esft_lightning.comparison.run_places import SPEC_FILE, run_key
from esft_lightning.publication import Verdict, write_section
from experiments import data_mixing, fronts, learning_rates, main_results, paper, training
from experiments.choice import Choice
from experiments.outcomes import ABILITY, TASK
from experiments.training_settings import VANILLA, read_settings

SCORES = {
    VANILLA: (0.1, 0.8), "FFT": (0.6, 0.5), "LoRA": (0.4, 0.3), "ESFT-Token": (0.6, 0.7), "ESFT-Gate": (0.6, 0.7),
    "random (Token)": (0.3, 0.7), "random (Gate)": (0.3, 0.7),
}  # fmt: skip


def as_the_paper_says(label: str, spec: RunSpec) -> tuple[float, float]:
    return SCORES.get(label.partition(", ")[0], SCORES["FFT"])


def verdicts(outcomes: Any, name: str) -> dict[tuple[str, str], Verdict]:
    """(statement, first row named in the effect) → verdict."""
    claims = import_module(f"experiments.{name}").claims_of(outcomes)
    return {(claim.statement, claim.effect.partition(" − ")[0]): claim.verdict for claim in claims}


@pytest.mark.parametrize("preset", ["tiny", "paper"])
@pytest.mark.parametrize("name", paper.TRAINING)
def test_every_grid_is_whole_and_can_be_made(name: str, preset: str) -> None:
    settings = read_settings(name, preset)
    rows = settings.specs()
    assert len(rows) == len(settings.rows) + 1
    keys = {spec.content_hash for specs in rows.values() for spec in specs}
    for label, specs in rows.items():
        assert {spec.task for spec in specs} == set(settings.tasks), label
        for spec in specs:
            assert spec.is_base or spec.base_run().content_hash in keys
            assert spec.is_base or spec.steps in (30, 50, 150, 500, 3000)


def test_the_papers_runs_mix_general_data_in_where_its_tables_do() -> None:
    def sources(name: str) -> dict[str, set[str | None]]:
        rows = read_settings(name, "paper").specs()
        trained = {label: specs for label, specs in rows.items() if label != VANILLA}
        return {label: {spec.data.get("general_source") for spec in specs} for label, specs in trained.items()}

    for name in ("main_results", "trained_parts", "threshold_and_rank"):
        assert all(found == {"files"} for found in sources(name).values()), name
    assert all(found == {None} for found in sources("cross_task_forgetting").values())
    mixing = sources("data_mixing")
    assert mixing["FFT"] == {None}
    assert mixing["FFT, mixed"] == {"files"}


def test_runs_are_those_of_compare_so_that_both_share_them() -> None:
    rows = read_settings("data_mixing", "tiny").specs()
    compared = {spec.content_hash for spec in build_grid(["math"])}
    ours = {spec.content_hash for specs in rows.values() for spec in specs if spec.task == "math"}
    shared = {spec.content_hash for spec in build_grid(["math"], ["FullFineTuning", "LoRA"])}
    assert shared <= ours & compared


def test_the_whole_plan_shares_runs_between_experiments() -> None:
    every = [
        spec.content_hash
        for name in paper.TRAINING
        for row in read_settings(name, "tiny").specs().values()
        for spec in row
    ]
    assert len(set(every)) < 0.53 * len(every)
    grids = {
        name: {spec.content_hash for row in read_settings(name, "tiny").specs().values() for spec in row}
        for name in ("main_results", "general_ability", "random_experts", "cross_task_forgetting")
    }
    assert grids["main_results"] == grids["general_ability"] == grids["random_experts"]
    assert grids["cross_task_forgetting"] < grids["main_results"]
    assert max(len(row) for row in read_settings("main_results", "tiny").specs().values()) == 6 * 3, "three seeds"


@pytest.mark.parametrize("name", paper.TRAINING)
def test_every_section_is_made_of_results_alone_even_where_runs_are_missing(name: str, tmp_path: Path) -> None:
    outcomes = outcomes_of(name, as_the_paper_says)
    module = import_module(f"experiments.{name}")
    section = module.section_of(outcomes, f"python -m experiments.{name}")
    write_section(section, tmp_path / "whole")
    assert section.tables
    assert section.figures
    label, task = outcomes.labels[0], outcomes.tasks[0]
    assert module.section_of(without(outcomes, label, task), "again").tables
    nothing = type(outcomes)({label: {} for label in outcomes.rows}, outcomes.tasks, missing=9)
    empty = module.section_of(nothing, "none")
    assert {claim.verdict for claim in empty.claims} <= {Verdict.UNDECIDED}


def test_results_as_the_paper_has_them_make_its_claims_hold() -> None:
    outcomes = outcomes_of("main_results", as_the_paper_says)
    for name in ("main_results", "general_ability", "random_experts", "cross_task_forgetting"):
        grid = outcomes if name != "cross_task_forgetting" else outcomes_of(name, as_the_paper_says)
        found = verdicts(grid, name)
        assert found
        assert set(found.values()) == {Verdict.HOLDS}, found


def test_results_of_the_other_kind_make_them_fail_and_close_ones_stay_undecided() -> None:
    worse = outcomes_of("main_results", lambda label, spec: (0.2, 0.2) if "ESFT" in label else (0.6, 0.6))
    for name in ("main_results", "general_ability", "random_experts"):
        assert set(verdicts(worse, name).values()) == {Verdict.FAILS}
    alike = outcomes_of("main_results", lambda label, spec: (0.5, 0.5))
    assert set(verdicts(alike, "random_experts").values()) == {Verdict.UNDECIDED}


def test_numbers_are_means_over_seeds_and_tasks_with_the_papers_beside_them() -> None:
    outcomes = outcomes_of("main_results", as_the_paper_says)
    spread = outcomes.spread(TASK, "FFT", "law")
    assert spread is not None
    assert spread.count == 3
    assert spread.mean == pytest.approx(60, abs=3)
    assert outcomes.over_tasks(TASK, "FFT") == pytest.approx(60, abs=3)
    assert outcomes.over_tasks(TASK, "no such row") is None
    difference = outcomes.difference(ABILITY, "ESFT-Token", "LoRA")
    assert difference is not None
    assert difference.mean == pytest.approx(40, abs=3)
    assert difference.low < difference.mean < difference.high
    table = main_results.score_table(outcomes)
    theirs = [row for row in table.rows[len(outcomes.rows) :] if row[0] == "ESFT-Gate"]
    assert theirs[0][1:] == ["44.1", "42.5", "78.6", "65.8", "49.1", "35.2", "52.6"]


def test_the_rate_with_the_least_mean_loss_of_the_most_seeds_is_chosen_and_needs_every_task() -> None:
    def score(label: str, spec: RunSpec) -> tuple[float, float]:
        best = {"FFT 1e-4": 0.9, "FFT 1e-5": 0.8 if spec.seed else 0.5}
        return (best.get(label, 0.6), 0.5)

    outcomes = outcomes_of("learning_rates", score)
    sums = learning_rates.sums_over_tasks(outcomes, Choice(by_score=False))
    assert sums["FFT 1e-4"] < sums["FFT 1e-5"] < sums["FFT 3e-5"]
    assert learning_rates.chosen(outcomes)["FFT"] == "FFT 1e-5", "1e-4 had no second seed"
    table = learning_rates.search_table(outcomes)
    starred = [row[0] for row in table.rows if row[0].endswith("*")]
    assert "1e-5 *" in starred
    assert len(starred) == 5
    part = without(outcomes, "FFT 1e-5", "law")
    assert learning_rates.chosen(part)["FFT"] == "FFT 3e-5"


def test_where_validation_rows_were_answered_their_score_chooses() -> None:
    outcomes = outcomes_of("learning_rates", lambda label, spec: (0.9 if label == "FFT 1e-5" else 0.5, 0.5))
    assert learning_rates.chosen(outcomes)["FFT"] == "FFT 1e-5"
    scores = {"FFT 3e-5": 0.7, "FFT 1e-5": 0.2}

    def scored(run: RunResult) -> RunResult:
        step = run.losses["validation"][-1][0]
        return replace(run, validation_scores=[[step, scores.get(run.spec.label, 0.1)]])

    rows = {
        label: {task: [run if run.spec.is_base else scored(run) for run in runs] for task, runs in tasks.items()}
        for label, tasks in outcomes.rows.items()
    }
    by_score = replace(outcomes, rows=rows)
    chosen = learning_rates.chosen(by_score)
    assert chosen["FFT"] == "FFT 3e-5", "whatever its loss and its score on test rows"
    assert "score on validation rows" in learning_rates.section_of(by_score, "command").text
    part = Choice.of([*by_score.runs, *(run for run in outcomes.runs if not run.spec.is_base)])
    assert not part.by_score, "one rule for all runs"


def test_a_front_keeps_what_nothing_beats_and_budgets_bound_what_counts() -> None:
    def score(label: str, spec: RunSpec) -> tuple[float, float]:
        if label == VANILLA:
            return (0.1, 0.9)
        rates = {"1e-5": (0.3, 0.88), "3e-5": (0.6, 0.75), "1e-4": (0.5, 0.3)}
        return rates[label.split()[1].rstrip(",")] if label.startswith("FFT") else (0.2, 0.5)

    outcomes = outcomes_of("fronts", score)
    values = fronts.points(outcomes, "FFT", "law", 0)
    assert len(values) == 7, "three rates, two of them to convergence, one at two more lengths"
    best = fronts.front(values)
    assert [round(point[1], -1) for point in best] == [30, 60]
    small, large = (fronts.best_within(values, budget) for budget in (0.05, 0.4))
    assert small is not None
    assert large is not None
    assert TASK.of(small) == pytest.approx(30, abs=3)
    assert TASK.of(large) == pytest.approx(60, abs=3)
    assert fronts.best_within(values, 0.0) is None
    lucky = replace(small, losses={**small.losses, "validation": [[150, 9.0]]}, rows={"task": [1.0] * 60})
    assert fronts.best_within([*values, (0.0, 100.0, lucky)], 0.4) is large, "test rows play no part in the choice"
    row = fronts.chosen_rows(outcomes, "LoRA", "law", 0.05)
    assert row is not None
    assert 100 * row.mean() == pytest.approx(10, abs=3), "the base stands in where every run forgets too much"


def arguments(tmp_path: Path, *more: str) -> list[str]:
    return ["--tasks", "law", "--seeds", "1", "--output", str(tmp_path / "runs"), *more]


def test_a_grid_that_would_run_generated_code_asks_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_module("experiments.main_results").main(arguments(tmp_path)) == 2
    assert "--allow-code-execution" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_plan_and_commands_come_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module("experiments.data_mixing")
    assert module.main(arguments(tmp_path, "--plan")) == 0
    assert "11 runs, 0 of them finished" in " ".join(capsys.readouterr().out.split())
    assert module.main(arguments(tmp_path, "--print-commands")) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 11
    assert all(line.startswith("python -m experiments.data_mixing --tasks law") for line in commands)
    assert len({line.split()[-1] for line in commands}) == 11


def test_finished_runs_make_a_section_and_an_archive_carries_them_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings("data_mixing", "tiny", {"tasks": ["law"]})
    specs = [spec for row in settings.specs().values() for spec in row]
    results = [result_of(spec, 0.5, 0.5, key=run_key(spec)) for spec in specs]
    archive = tmp_path / "runs.jsonl.gz"
    assert write_archive(results, archive) == 11
    first = archive.read_bytes()
    write_archive(list(reversed(results)), archive)
    assert archive.read_bytes() == first
    options = ["--only", "data_mixing", "--tasks", "law", "--output", str(tmp_path / "runs")]
    options += ["--docs", str(tmp_path / "docs"), "--restore", str(archive)]
    assert paper.main(options) == 0
    said = capsys.readouterr().out
    assert "11 finished runs restored" in said
    assert "11 of them finished; 0 to make" in " ".join(said.split())
    assert len(list((tmp_path / "runs").rglob(SPEC_FILE))) == 11
    assert (tmp_path / "docs" / "runs.jsonl.gz").read_bytes() == first
    assert "## What does general data do?" in (tmp_path / "docs" / "README.md").read_text()


def test_a_page_made_in_pieces_has_every_piece_and_its_archive_only_grows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs, options = tmp_path / "docs", ["--tasks", "law", "--seeds", "1", "--publish-only"]
    options += ["--output", str(tmp_path / "runs"), "--docs", str(docs)]
    settings = {"tasks": ["law"], "seeds": 1}
    archived = 0
    for name in ("cost", "data_mixing"):
        specs = [spec for row in read_settings(name, "tiny", settings).specs().values() for spec in row]
        write_archive([result_of(spec, 0.5, 0.5, key=run_key(spec)) for spec in specs], tmp_path / f"{name}.gz")
        assert paper.main(["--only", name, "--restore", str(tmp_path / f"{name}.gz"), *options]) == 0
        assert len(read_archive(docs / "runs.jsonl.gz")) > archived
        archived = len(read_archive(docs / "runs.jsonl.gz"))
    page = (docs / "README.md").read_text()
    assert "## What does general data do?" in page
    assert "## What does each strategy cost?" in page
    assert "--publish-only" not in (tmp_path / "runs" / "cost" / "section.md").read_text()
    shutil.rmtree(tmp_path / "runs")
    assert paper.main(["--only", "cost", *options]) == 0
    assert len(read_archive(docs / "runs.jsonl.gz")) == archived, "what is gone elsewhere stays in the archive"
    (docs / "runs.jsonl.gz").write_bytes(b"no archive")
    capsys.readouterr()
    assert paper.main(["--only", "cost", *options]) == 2
    assert "no whole gzip file" in capsys.readouterr().err


def test_intervals_do_not_depend_on_the_order_of_a_results_tests() -> None:
    outcomes = outcomes_of("main_results", as_the_paper_says)
    turned = {
        label: {
            task: [replace(run, rows=dict(reversed(run.rows.items()))) for run in runs] for task, runs in tasks.items()
        }
        for label, tasks in outcomes.rows.items()
    }
    pair = ("random (Token)", "FFT")
    assert replace(outcomes, rows=turned).difference(ABILITY, *pair) == outcomes.difference(ABILITY, *pair)


def test_seeds_of_random_experts_are_drawn_once_for_all_tasks() -> None:
    def score(label: str, spec: RunSpec) -> tuple[float, float]:
        lucky = label in ("random (Token)", "FFT")
        return (0.2 + 0.3 * spec.seed if lucky else 0.5, 0.5)

    outcomes = outcomes_of("main_results", score)
    random, trained = (outcomes.difference(TASK, label, "LoRA") for label in ("random (Token)", "FFT"))
    assert random is not None
    assert trained is not None
    assert random.mean == trained.mean
    assert random.high - random.low > 1.8 * (trained.high - trained.low), "a draw of experts is lucky on every task"


def test_the_main_tables_train_at_the_rates_that_the_search_chose() -> None:
    """The archive's search, which was made on earlier rows, and the rates in the settings."""
    archive = ROOT / "docs" / "results" / "runs.jsonl.gz"
    results = [replace(result, key=run_key(result.spec)) for result in read_archive(archive)]
    search = read_settings("learning_rates", "tiny")
    searched = training.outcomes_of(search.specs(), search.tasks, results)
    main = read_settings("main_results", "tiny").specs()
    best = learning_rates.chosen(searched)
    for label in ("FFT", "LoRA", "ESFT-Token", "ESFT-Gate"):
        specs = {spec.content_hash for spec in main[label]}
        assert {spec.content_hash for spec in search.specs()[best[label]]} <= specs, f"{label}: {best[label]}"


def test_claims_that_rest_on_one_seed_say_so() -> None:
    one = outcomes_of("data_mixing", as_the_paper_says)
    section = training.with_seeds(data_mixing.section_of(one, ""), one)
    assert section.claims
    assert all(claim.test.endswith("; one seed") for claim in section.claims)
    three = outcomes_of("main_results", as_the_paper_says)
    assert training.with_seeds(section, three) is section


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "runs.jsonl.gz"
    archive.write_bytes(b"no archive")
    assert paper.main(["--only", "cost", "--restore", str(archive), "--output", str(tmp_path / "runs")]) == 2
    assert f"{archive}: no whole gzip file" in capsys.readouterr().err


def test_unfinished_runs_are_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_module("experiments.cost").main(arguments(tmp_path, "--publish-only")) == 0
    assert "7 runs have not finished" in capsys.readouterr().err
    assert (tmp_path / "runs" / "cost" / "section.md").is_file()
    assert training.provenance(outcomes_of("cost", as_the_paper_says)).startswith("26 runs, 2 seeds, 30 steps, ")
