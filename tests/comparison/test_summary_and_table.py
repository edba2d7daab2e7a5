"""Rows, tables and the report, from hand-made results alone."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hand_made_results import failed, finished
from rich.console import Console

from esft_lightning.comparison.report import write_report
from esft_lightning.comparison.result import RunResult, load_results
from esft_lightning.comparison.selection_facts import overlap, task_overlaps
from esft_lightning.comparison.summary import summarize
from esft_lightning.comparison.table import caption, cells, markdown_table, quantity, terminal_table


def grid() -> list[RunResult]:
    experts = {"affinity": {"num_experts": 8, "tokens": 10, "samples": 2, "top_k": 2}}
    return [
        finished("law", "base", score=10, general=50),
        finished("law", "LoRA", 0, score=40, general=45),
        finished("law", "LoRA", 1, score=44, general=41),
        finished("law", "ESFTGate", 0, score=60, general=49, selected_experts={"1": [0, 1], "2": [3]}, **experts),
        failed("law", "ESFTGate", 1, "OutOfMemoryError: too big"),
        finished("math", "base", score=20, general=50),
        finished("math", "ESFTGate", 0, score=30, general=50, selected_experts={"1": [1, 2], "2": [4]}, **experts),
    ]


def test_mean_and_sample_deviation_over_seeds_failed_runs_left_out() -> None:
    rows = {(row.task, row.name): row for row in summarize(grid())}
    lora, gate = rows["law", "LoRA"], rows["law", "ESFTGate"]
    assert lora.task_after is not None and gate.task_after is not None and lora.share is not None
    assert lora.task_after.mean == pytest.approx(0.42)
    assert lora.task_after.deviation == pytest.approx(0.02 * 2**0.5)
    assert (gate.task_after.mean, gate.task_after.deviation, gate.failed) == (pytest.approx(0.6), None, 1)
    assert lora.share.mean == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("updates", "said"),
    [("fp32_masters", "kept in fp32, 16 bytes"), ("kahan_summation", "Kahan summation, 10 bytes"), ("", "")],
)
def test_a_report_says_how_what_trains_is_kept(updates: str, said: str, tmp_path: Path) -> None:
    runs = [finished("law", "base", score=10, general=50)]
    runs.append(finished("law", "FullFineTuning", score=20, general=50, weight_updates=updates))
    text = write_report([RunResult.from_dict(run.to_dict()) for run in runs], tmp_path).read_text()
    assert said in text and ("What trains is kept" in text) == bool(updates)


def test_a_report_says_without_which_walls_code_ran_and_a_result_keeps_it(tmp_path: Path) -> None:
    wall = "file system (Landlock): Function not implemented"
    walled = finished("code", "base", score=0.4, general=0.6)
    assert "without a wall" not in write_report([walled], tmp_path).read_text()
    lacking = replace(walled, missing_walls=[wall])
    assert RunResult.load(lacking.save(tmp_path)).missing_walls == [wall]
    assert f"- generated code ran without a wall: {wall}\n" in write_report([walled, lacking], tmp_path).read_text()


def test_the_base_comes_first_and_has_nothing_trained() -> None:
    rows = summarize(list(reversed(grid())))
    assert [(row.task, row.name) for row in rows if row.is_base] == [("math", "base"), ("law", "base")]
    assert rows[0].is_base
    assert cells(rows[0])[1:] == ["20.0", "50.0", "–", "–", "–", "–", "–"]


def test_cells_show_scores_in_per_cent_and_costs_in_their_units() -> None:
    row = next(row for row in summarize(grid()) if row.name == "LoRA")
    assert cells(row) == [
        "LoRA", "42.0 ± 2.8", "43.0 ± 2.8", "250k", "5.0%", "1.23", "0.25", "700",
    ]  # fmt: skip


def test_scores_have_intervals_over_the_rows_that_were_asked() -> None:
    right = [1.0] * 40 + [0.0] * 60
    runs = [
        finished("law", "base", score=10, general=50, rows={"task": [1.0] * 10 + [0.0] * 90}),
        finished(
            "law", "LoRA", score=40, general=50, rows={"task": right, "general/recall": right, "general/x": [1.0]}
        ),
    ]
    base, lora = summarize(runs)
    assert cells(base)[1:3] == ["10.0 ± 5.5", "50.0"]
    assert cells(lora)[1:3] == ["40.0 ± 9.0", "50.0 ± 4.5"], "a probe of one row adds no width"
    assert lora.task_interval is not None
    expected = 1.96 * (0.4 * 0.6 / 100) ** 0.5
    assert (lora.task_interval.high - lora.task_interval.low) / 2 == pytest.approx(expected, rel=0.1)
    seeds = [finished("law", "LoRA", n, score=0, general=0, rows={"task": [n] * 50}) for n in (0, 1)]
    (both,) = summarize(seeds)
    assert both.task_interval is not None
    assert (both.task_interval.low, both.task_interval.high) == (0, 1), "seeds that disagree widen it"
    assert "another one gives other numbers" in caption(runs)
    assert "over seeds" in caption(seeds)


def test_terminal_and_markdown_tables_show_every_row() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(terminal_table(grid()))
    text = capture.get()
    markdown = markdown_table(summarize(grid()))
    for shown in (text, markdown):
        assert "42.0 ± 2.8" in shown
        assert "ESFTGate (1 of 2 failed)" in shown
    widths = {line.count("|") for line in markdown.splitlines()}
    assert len(widths) == 1


def test_what_rote_earns_stands_beside_the_scores(tmp_path: Path) -> None:
    rote = {"constant": 0.031, "random": 0.01, "last_shot": 0.02}
    results = [
        finished("law", "base", score=10, general=50, rote=rote),
        finished("law", "LoRA", 0, score=40, general=45),
    ]
    console = Console(width=200)
    with console.capture() as capture:
        console.print(terminal_table(results))
    assert "by rote" in capture.get() and "3.1" in capture.get()
    report = write_report(results, tmp_path).read_text()
    note = "By rote: best constant answer 3.1, random training answer 1.0, answer of the last example 2.0."
    assert note in report
    assert RunResult.from_dict(results[0].to_dict()).rote == rote
    assert "by rote" not in write_report(grid(), tmp_path).read_text().lower()


def test_the_terminal_table_of_one_seed_fits_into_80_columns() -> None:
    names = ("base", "FullFineTuning", "FrozenExperts", "RandomExperts")
    answers = [1.0] * 17 + [0.0] * 15
    rows = {"task": answers, "general/recall": answers}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(
            terminal_table([finished("translation", name, score=99, general=99, rows=rows) for name in names])
        )
    lines = capture.get().splitlines()
    for name in names:
        (line,) = [line for line in lines if line.startswith(name)]
        assert "…" not in line
        assert line.split()[-1] in ("700", "–"), "the row is on one line"


def test_results_survive_their_file_and_are_found_again(tmp_path: Path) -> None:
    for number, result in enumerate(grid()):
        result.save(tmp_path / f"{number}")
    assert load_results(tmp_path) == grid()
    (tmp_path / "3" / "result.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match=r"3/result\.json: schema 99 is unknown"):
        load_results(tmp_path)


def test_the_report_is_made_from_results_alone(tmp_path: Path) -> None:
    report = write_report(grid(), tmp_path, command="python -m esft_lightning compare --seeds 2")
    text = report.read_text(encoding="utf-8")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    for expected in (
        "![", "report.png", "### law", "### math", "42.0 ± 2.8", "OutOfMemoryError: too big",
        "same batches in the same order",
        "| ESFTGate | law, math | 0.5 | 0.3 |", "python -m esft_lightning compare --seeds 2", "abacus",
    ):  # fmt: skip
        assert expected in text


def test_a_loss_is_no_score(tmp_path: Path) -> None:
    after = {"task": 0.5, "general/recall": 0.5, "general/average": 0.5, "general/loss": 1.875}
    text = write_report([finished("law", "LoRA", score=50, general=50, after=after)], tmp_path).read_text()
    assert "| 50.0 | 1.875 | 50.0 |" in text


def test_the_report_says_when_strategies_saw_different_batches(tmp_path: Path) -> None:
    results = [*grid(), finished("law", "FrozenExperts", 0, score=1, general=1, batches_digest="another")]
    assert "**Batches differed between strategies on law**" in write_report(results, tmp_path).read_text()


@pytest.mark.parametrize("results", [[failed("law", "LoRA")], [finished("law", "base", score=1, general=1)]])
def test_a_report_of_little_is_still_a_report(tmp_path: Path, results: list[RunResult]) -> None:
    assert write_report(results, tmp_path).is_file()


def test_overlap_by_chance_is_the_mean_over_all_selections_of_that_size() -> None:
    first = {"1": [0, 1, 4]}
    others = [{"1": list(chosen)} for chosen in combinations(range(5), 2)]
    shared = [overlap(first, other, 5) for other in others]
    assert sum(pair[0] for pair in shared) / len(shared) == pytest.approx(shared[0][1])


def test_tasks_are_compared_at_their_lowest_finished_seed() -> None:
    (pair,) = task_overlaps(grid(), "ESFTGate")
    assert (pair.first, pair.second, pair.shared, pair.chance) == ("law", "math", 0.5, (2 * 2 + 1) / 8 / 2)


@pytest.mark.parametrize(("count", "text"), [(12, "12"), (5_512_896, "5.51M"), (2048, "2.05k"), (15.7e9, "15.7B")])
def test_quantities_have_three_digits(count: float, text: str) -> None:
    assert quantity(count) == text


def test_result_files_are_json_that_others_can_read(tmp_path: Path) -> None:
    values = json.loads(grid()[3].save(tmp_path).read_text())
    assert values["spec"]["strategy"] == "ESFTGate"
    assert values["spec_hash"] == grid()[3].spec.content_hash
    assert values["selected_experts"] == {"1": [0, 1], "2": [3]}
