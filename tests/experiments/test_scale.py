"""The scale experiment: which bases it makes, and what it says of results that are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from outcomes_by_hand import outcomes_of, without
from rich.console import Console

from esft_lightning import embedded
from esft_lightning.comparison import RunSpec
from esft_lightning.publication import Verdict
from experiments import scale
from experiments.outcomes import ABILITY, TASK
from experiments.training_settings import VANILLA, read_settings

SIZES = ["1.5M tokens", "4.6M tokens", "13.4M tokens"]


def closing(label: str, spec: RunSpec) -> tuple[float, float]:
    """ESFT is far behind on the first size and level on the last; random experts stay where they are."""
    if label == VANILLA:
        return (0.1, 0.8)
    strategy, size = label.split(", ")
    reached = {"ESFT-Token": (0.2, 0.35, 0.6)}.get(strategy, (0.5, 0.5, 0.5) if strategy == "FFT" else (0.2, 0.2, 0.2))
    return (reached[SIZES.index(size)], 0.7 if strategy == "ESFT-Token" else 0.5)


def test_the_last_size_is_the_embedded_model_with_runs_of_the_fronts() -> None:
    rows = read_settings("scale", "tiny").specs()
    fronts = {spec.content_hash for specs in read_settings("fronts", "tiny").specs().values() for spec in specs}
    shared = [label for label, specs in rows.items() if {spec.content_hash for spec in specs} <= fronts]
    assert shared == [label for label in rows if label.endswith(SIZES[-1])]
    bases = {spec.base for specs in rows.values() for spec in specs}
    assert {embedded.pretraining_steps(base) for base in bases} == {None, 500, 1500}
    scales = {(spec.strategy, spec.learning_rate_scale) for specs in rows.values() for spec in specs if spec.steps}
    assert len(scales) == 4, "every size takes the embedded model's rates"


def test_differences_are_followed_over_the_sizes_and_their_growth_is_judged() -> None:
    outcomes = outcomes_of("scale", closing)
    assert scale.sizes_of(outcomes) == SIZES
    gaps = [scale.at_size(outcomes, ("ESFT-Token", "FFT", TASK), size) for size in SIZES]
    assert [round(gap.mean, -1) for gap in gaps if gap is not None] == [-30, -20, 10]
    grown = scale.moved(outcomes, ("ESFT-Token", "FFT", TASK))
    assert grown is not None
    assert grown.mean == pytest.approx(40, abs=3)
    assert grown.low < grown.mean < grown.high
    kept = scale.moved(outcomes, ("ESFT-Token", "FFT", ABILITY))
    assert kept is not None
    assert kept.mean == pytest.approx(0, abs=1)
    verdicts = [claim.verdict for claim in scale.claims_of(outcomes)]
    assert verdicts == [Verdict.HOLDS, Verdict.HOLDS, Verdict.UNDECIDED]
    rows = scale.score_table(outcomes).rows
    assert [row[0] for row in rows[:5]] == [VANILLA, "FFT", "LoRA", "ESFT-Token", "random (Token)"]
    assert float(rows[0][1]) == pytest.approx(10, abs=3)
    assert scale.score(without(outcomes, f"FFT, {SIZES[0]}", "law"), "FFT", SIZES[0], TASK) is None


def test_a_missing_base_is_pretrained_once_and_gets_its_name_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PRETRAINED", tmp_path)
    monkeypatch.setattr(scale, "PRETRAINED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"embedded\.pretrain --steps 1 --output"):
        embedded.model_folder("tiny@1")
    spec = RunSpec("law", "FullFineTuning", base="tiny@1", steps=1)
    console = Console(record=True, width=200)
    scale.make_bases([spec, spec.with_changes(seed=1), RunSpec("law", "LoRA", steps=1)], 2, console)
    folder = embedded.model_folder("tiny@1")
    assert folder == tmp_path / "tiny@1"
    assert {"config.json", "model.safetensors", "tokenizer.json", "PRETRAINING.json"} <= {
        p.name for p in folder.iterdir()
    }
    assert not (folder / "state.pt").exists()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    scale.make_bases([spec], 2, console)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert console.export_text().count("pretraining tiny@1: done") == 1


def test_pretraining_that_fails_is_named_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "PRETRAINED", tmp_path)
    (tmp_path / "tiny@1.part").mkdir()
    (tmp_path / "tiny@1.part" / "state.pt").write_bytes(b"no state")
    with pytest.raises(ValueError, match=r"tiny@1 ended with exit code 1; see .*log\.txt"):
        scale.make_bases([RunSpec("law", "LoRA", base="tiny@1", steps=1)], 1, Console(quiet=True))
    assert not (tmp_path / "tiny@1").exists()
