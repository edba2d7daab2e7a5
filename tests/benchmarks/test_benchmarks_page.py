"""The page and its verdicts, from results made by hand; one benchmark from end to end at a very small size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from benchmarks import results
from benchmarks.__main__ import main
from benchmarks.page import write_page
from benchmarks.pieces import PIECES, chosen
from benchmarks.targets import verdicts
from benchmarks.timing import quartiles, ratio


def contender(label: str, seconds: float, **facts: Any) -> dict[str, Any]:
    known = {
        "label": label, "seconds": [seconds, 2 * seconds, 3 * seconds], "parts": {}, "loss": 1.0, "selected": 6,
        "trained_parameters": 10, "needed_bytes": 120, "gradient_bytes": 40, "optimizer_bytes": 80,
        "saved_bytes": 1_000_000, "peak_bytes": 2_000_000, "checkpoint_bytes": 3_000_000,
    }  # fmt: skip
    return known | facts


def steps(dtype: str = "float32", **esft: Any) -> dict[str, Any]:
    """ESFT takes 1.04 of the floor, and half of full fine-tuning."""
    return {
        "shape": {"name": "olmoe", "layers": 4, "hidden": 1024, "experts": 64, "intermediate": 512, "top_k": 8},
        "dtype": dtype, "tokens": 2048, "parameters": 420_000_000, "selected_rows": {"6": 0.11},
        "selected_activation_bytes": {"6": 200_000},
        "contenders": [
            contender("ESFT", 1.04, **esft), contender("full fine-tuning", 2.08),
            contender("frozen model", 0.9, saved_bytes=900_000), contender("floor", 1.0),
            contender("floor from the first trained layer", 0.98),
        ],
    }  # fmt: skip


def alternatives() -> dict[str, Any]:
    """ESFT takes 0.6 of the loop."""
    contenders = [contender("gradient mask", 4.0), contender("LoRA on routed experts", 4.0)]
    return {**steps(), "contenders": [contender("ESFT", 1.04), *contenders, contender("per-expert loop", 1.04 / 0.6)]}


def sized(esft: float, frozen: float) -> dict[str, Any]:
    return {"dtype": "float32", "contenders": [contender("frozen model", frozen), contender("ESFT, 10 %", esft)]}


def by_hand() -> dict[str, dict[str, Any]]:
    made_by = {
        "piece": "", "command": "python -m benchmarks", "quick": False, "made": "2026-01-02 03:04 UTC",
        "commit": "abc", "hardware": {"cpu": "a CPU", "threads": 2}, "versions": {"torch": "2"},
    }  # fmt: skip
    content = {
        "steps-olmoe-float32": steps(),
        "steps-olmoe-bfloat16": steps("bfloat16", optimizer_bytes=90, saved_bytes=1_200_000),
        "alternatives-olmoe-float32": alternatives(),
        "breakdown-olmoe-float32": {
            "shape": "olmoe", "dtype": "float32", "steps": 3,
            "contenders": {
                "ESFT": {"seconds": {"experts' products": 0.06, "loss": 0.02}, "flops": 3_000_000_000},
                "floor": {"seconds": {"experts' products": 0.06, "loss": 0.01}, "flops": 2_000_000_000},
            },
        },
        "experts_sweep-float32": {"sizes": {"64": sized(1.1, 1.0), "512": sized(2.4, 2.0)}},
        "profiling-tiny": {"shape": "tiny", "tokens": 9, "plain": [1.0, 1.0], "profile": [1.1, 1.1]},
        "adapters-float32": {
            "dtype": "float32", "bytes": 8, "copy": [1.0], "fingerprint": [0.1], "install": [1.4], "replace": [1.6],
            "switch": [0.1],
        },
        "fit_loop": {"steps": 3, "losses": {}, "fit": [1.04], "bare": [1.0]},
        "packing": {"rows": 7280, "tokens": 9, "source": "x", "cold": [2.0, 4.0, 2.5], "cached": [0.4]},
        "startup": {"commands": {"--help": [0.1], "select": [0.9], "score": [1.1]}},
    }  # fmt: skip
    return {piece: {"made_by": made_by | {"piece": piece}, **result} for piece, result in content.items()}


def test_ratios_compare_the_same_round() -> None:
    assert ratio([1.0, 20.0, 3.0], [2.0, 40.0, 6.0]) == 0.5
    assert quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 3.0, 4.0)
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_verdicts_say_what_is_met() -> None:
    found = {(verdict.target, verdict.case): verdict for verdict in verdicts(by_hand())}
    steps_32 = {target: verdict for (target, case), verdict in found.items() if case == "olmoe, float32"}
    assert steps_32["ESFT step / floor"].measured == pytest.approx(1.04) and steps_32["ESFT step / floor"].met
    assert steps_32["ESFT step / full fine-tuning"].met and steps_32["ESFT step / gradient mask"].met
    assert not steps_32["ESFT step / per-expert loop"].met
    assert steps_32["ESFT step / full fine-tuning"].floor == pytest.approx(0.98 / 2.08)
    assert steps_32["ESFT step / per-expert loop"].floor == pytest.approx(0.6 * 0.98 / 1.04), "by way of ESFT"
    alone = verdicts({"alternatives-olmoe-float32": alternatives()})
    assert [verdict.floor for verdict in alone] == [None] * 3, "the floor was not measured"
    assert steps_32["gradients and optimizer state / needed"].met
    activations = "saved activations / frozen model's and the selected rows'"
    assert steps_32[activations].measured == pytest.approx(1_000_000 / 1_100_000)
    assert not found[activations, "olmoe, bfloat16"].met
    assert not found["ESFT step / full fine-tuning", "olmoe, bfloat16"].met, "0.35 is the limit in bf16"
    assert found["gradients and optimizer state / needed", "olmoe, bfloat16"].measured == pytest.approx(130 / 120)
    growth = found["ESFT step / frozen model: 512 experts over 64", "float32, 10 % selected"]
    assert growth.measured == pytest.approx(1.2 / 1.1) and growth.met
    assert not found["profiling / plain forward", "tiny"].met
    assert [found[f"{what} / copy of its bytes", "float32"].met for what in (
        "installing an adapter", "replacing one by another", "switching loaded ones"
    )] == [True, False, True]  # fmt: skip
    assert found["fit / bare loop", "tiny, 3 steps"].met
    assert found["tokenise and pack, cold", "7,280 intent rows (x)"].measured == 2.5
    assert not found["tokenise and pack, cached", "7,280 intent rows (x)"].met
    starts = [found["start-up to end", f"python -m esft_lightning {verb}"] for verb in ("--help", "select", "score")]
    assert [verdict.met for verdict in starts] == [True, True, False]


def test_the_page_has_verdicts_tables_machine_and_commit(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    write_page(by_hand(), page)
    text = page.read_text()
    assert "Machine: a CPU, 2 threads. Commit: abc." in text and "--quick" not in text
    assert "| olmoe, float32 | 0.600 × | ≤ 0.50 × | **not met** | 0.565 × |" in text
    assert "in 2 of the 8 missed cases the target lies below it" in text
    assert "| ESFT | 2.080 (1.560–2.600) | 985 | 0.50 | 1.04 | 2.0 |" in text
    assert "6 experts a layer selected, which compute 11% of the rows; 3 steps of each" in text
    assert "| 512 | 4.000 | 1.200 |" in text
    assert "| experts' products | 60.0 (75%) | 60.0 (86%) |" in text
    assert text.index("## Targets") < text.index("## A step") < text.index("## Start-up")
    with pytest.raises(ValueError, match="run python -m benchmarks"):
        write_page({}, page)


def test_the_page_is_made_again_from_the_archive_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made, again = tmp_path / "made", tmp_path / "again"
    for name, content in by_hand().items():
        made.mkdir(exist_ok=True)
        (made / f"{name}.json").write_text(json.dumps(content))
    page = tmp_path / "docs" / "benchmarks.md"
    assert main(["--publish-only", "--output", str(made), "--page", str(page)]) == 0
    text, archive = page.read_text(), page.with_suffix(".json")
    assert main(["--publish-only", "--restore", str(archive), "--output", str(again), "--page", str(page)]) == 0
    assert page.read_text() == text
    assert results.restore(archive, again) == 0, "what is there already stays"
    archive.write_text("[1]")
    assert main(["--publish-only", "--restore", str(archive), "--output", str(again)]) == 2
    assert "no archive of benchmark results" in capsys.readouterr().err


def test_a_quick_result_says_that_its_timings_mean_nothing(tmp_path: Path) -> None:
    found = by_hand()
    found["fit_loop"]["made_by"]["quick"] = True
    write_page(found, tmp_path / "page.md")
    assert "mean anything" in (tmp_path / "page.md").read_text()


def test_names_of_benchmarks_stand_for_their_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen(None) == list(PIECES)
    assert [piece.name for piece in chosen(["steps-olmoe"])] == ["steps-olmoe-float32", "steps-olmoe-bfloat16"]
    assert {piece.module for piece in chosen(["steps"])} == {"steps"}
    assert main(["--only", "stpes"]) == 2
    assert "no benchmark 'stpes'" in capsys.readouterr().err


def test_results_come_back_and_a_broken_file_is_named(tmp_path: Path) -> None:
    results.save(tmp_path, "fit_loop", {"fit": [1.0]}, command="x", threads=1, quick=True)
    found = results.load_all(tmp_path)["fit_loop"]
    assert found["fit"] == [1.0] and found["made_by"]["quick"] and found["made_by"]["versions"]["torch"]
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json"):
        results.load_all(tmp_path)


def test_one_benchmark_from_the_command_to_the_page(tmp_path: Path) -> None:
    """Every contender on a very small model, two steps each; a second call measures nothing again."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "steps-olmoe-float32", "--threads", "1"]
    command += ["--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "quick" / "steps-olmoe-float32.json"
    measured = {entry["label"]: entry for entry in json.loads(file.read_text())["contenders"]}
    assert {len(entry["seconds"]) for entry in measured.values()} == {2}
    assert len({round(entry["loss"], 4) for entry in measured.values()}) == 1
    assert measured["floor"]["parts"].keys() == {"frozen", "update"}
    assert (
        measured["ESFT"]["gradient_bytes"] + measured["ESFT"]["optimizer_bytes"]
        <= 1.02 * measured["ESFT"]["needed_bytes"]
    )
    assert "| ESFT |" in (tmp_path / "quick" / "benchmarks.md").read_text()
    stamp = file.stat().st_mtime_ns
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "measured already" in again.stdout and file.stat().st_mtime_ns == stamp


def test_a_contender_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.line_up import esft
    from benchmarks.measure import interleave
    from benchmarks.shapes import OLMOE, build_model, make_batch, small

    model, batch = build_model(small(OLMOE)), make_batch(small(OLMOE))
    with pytest.raises(RuntimeError, match=r"ESFT failed:(.|\n)*expert ids must lie"):
        interleave([esft()], model, batch, [{0: [10_000]}], steps=1, threads=1)
