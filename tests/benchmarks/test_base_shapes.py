"""The rule that chooses the base's shape, on outcomes made by hand."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks import base_shapes
from benchmarks.shape_rule import CANDIDATES, Outcome, best_two, choose, eligible, table
from esft_lightning.errors import UserError

NAMES = list(CANDIDATES)


def outcome(shape: str, right: float, seed: int = 0, own_share: float = 0.0) -> Outcome:
    """A shape that answers a share of 100 rows of each of two probes, always the same ones first."""
    answered = [place < 100 * right for place in range(100)]
    rows = {"copy": answered, "lookup": answered}
    scores = dict.fromkeys(rows, 100 * right)
    baselines = {"copy": 0.0, "lookup": 20.0}
    return Outcome(
        *(shape, seed, 1_000_000, 1.6, 5_500_000, 11_000_000, 100 * right - 10, scores, baselines, rows, own_share, 1.5)
    )


def test_shapes_that_are_slow_or_large_are_not_eligible():
    speeds = dict(zip(NAMES, (4800, 3600, 2910, 2900, 2000), strict=True))
    sizes = dict.fromkeys(NAMES, 12_000_000) | {NAMES[1]: 15_000_001}
    assert eligible(speeds, sizes) == [NAMES[0], NAMES[2]]  # 1.649 times is 1.6, 1.655 is not


def test_the_best_eligible_shape_is_chosen():
    outcomes = [outcome(NAMES[0], 0.3), outcome(NAMES[1], 0.7), outcome(NAMES[2], 0.5), outcome(NAMES[3], 0.9)]
    admitted = NAMES[:3]
    assert best_two(outcomes, admitted) == [NAMES[1], NAMES[2]]
    choice = choose(outcomes, admitted)
    assert choice.shape == NAMES[1] and "20.0 points more than" in choice.reason
    # a second seed can turn it round
    outcomes += [outcome(NAMES[1], 0.3, seed=1), outcome(NAMES[2], 0.8, seed=1)]
    assert choose(outcomes, admitted).shape == NAMES[2]
    assert choose(outcomes, [NAMES[0]]).reason == "the only eligible shape"
    with pytest.raises(UserError, match="no eligible shape"):
        choose([], admitted)


def test_routing_decides_a_tie():
    generator = np.random.default_rng(0)
    noisy = {probe: (generator.random(100) < 0.5).tolist() for probe in ("copy", "lookup")}
    first = outcome(NAMES[0], 0.50, own_share=0.05)
    second = replace(outcome(NAMES[1], 0.49, own_share=0.08), rows=noisy)
    choice = choose([first, second], NAMES)
    assert choice.shape == NAMES[1] and choice.reason.startswith("tied in context")
    # the same rows, less one answer in each probe: the difference is small but sure to be no gain
    assert choose([first, replace(second, own_share=0.01)], NAMES).shape == NAMES[0]


def test_the_table_has_losers_and_the_choice(tmp_path):
    outcomes = [outcome(NAMES[0], 0.3), outcome(NAMES[1], 0.7), outcome(NAMES[3], 0.9)]
    speeds = dict(zip(NAMES, (4800, 3600, 3000, 2000, 2000), strict=True))
    written = table(outcomes, speeds)
    assert written.count("\n| ") == 3 and f"| {NAMES[3]} | 0 |" in written and "| no |" in written
    assert f"Chosen: {NAMES[1]};" in written
    base_shapes.write_table(tmp_path, outcomes, speeds)
    values = json.loads((tmp_path / "table.json").read_text())
    assert Outcome(**values["outcomes"][1]) == outcomes[1]


def test_a_finished_run_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(base_shapes, "_call", lambda command, folder: pytest.fail("it ran again"))
    folder = base_shapes._folder(tmp_path, NAMES[0], 0)
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome(NAMES[0], 0.3))))
    assert base_shapes.run(tmp_path, NAMES[0], 0, 4800.0, 1.6, tmp_path) == outcome(NAMES[0], 0.3)


def test_a_run_has_the_tokens_that_its_hours_pay_for(tmp_path, monkeypatch):
    calls: list[list[str]] = []

    def call(command, folder):
        calls.append(command)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "outcome.json").write_text(json.dumps(asdict(outcome(NAMES[2], 0.3, seed=1))))

    monkeypatch.setattr(base_shapes, "_call", call)
    base_shapes.run(tmp_path, NAMES[2], 1, 3072.0, 1.6, tmp_path)
    pretraining, scoring = calls
    assert pretraining[pretraining.index("--steps") + 1] == str(round(1.6 * 3600))
    assert pretraining[pretraining.index("--layers") + 1] == "8" and pretraining[pretraining.index("--seed") + 1] == "1"
    assert "--score" in scoring
    (tmp_path / "8x64x24-seed1" / "progress.json").write_text('{"step": 5}')
    assert base_shapes.watch(tmp_path) == {"8x64x24-seed1": {"step": 5, "scored": True}}
