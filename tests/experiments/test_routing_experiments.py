"""Concentration, experts per layer, stability and coverage: the published logs' numbers, and hand-made profiles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from esft_lightning.affinity import AffinityProfile, ExpertSelection, RoutingLog
from esft_lightning.publication import Verdict
from experiments import (
    experts_per_layer,
    routing,
    routing_concentration,
    selection_stability,
    token_coverage,
)

MAINS = (routing_concentration, experts_per_layer, selection_stability, token_coverage)


@pytest.fixture(scope="module")
def logged(reference_data: Path) -> routing.Measured:
    return routing.read_logs(reference_data)


def _profile(counts: list[list[int]], top_k: int = 2) -> AffinityProfile:
    """A profile whose gates are 0.1 for every choice; each row of `counts` sums to top-k × tokens."""
    table = np.array(counts)
    tokens = int(table.sum(1)[0]) // top_k
    gates = table * 0.1
    return AffinityProfile(
        tuple(range(len(table))), table.shape[1], top_k, table, gates, table / tokens, gates / tokens, tokens, 1
    )


def _covered(measured: routing.Measured, own: float) -> token_coverage.Coverage:
    """A task's own tokens hit so many trained experts, other tasks' a tenth."""
    hits = {
        task: {name: np.full((26, 5), own if name == task else 0.1) for name in measured.tasks}
        for task in measured.tasks
    }
    return token_coverage.Coverage(measured, hits, {})


def test_concentration_of_the_published_logs(logged: routing.Measured) -> None:
    found = {task: np.round(routing_concentration.shares(logged, task), 3).tolist() for task in logged.tasks}
    assert found == {"intent": [0.075, 0.330], "law": [0.073, 0.277]}


def test_experts_per_layer_of_the_published_logs(logged: routing.Measured) -> None:
    profiles = logged.whole()
    means = {
        (task, score): round(float(experts_per_layer.counts(profile, score, p).mean()), 2)
        for task, profile in profiles.items()
        for _, score, p in experts_per_layer.METHODS
    }
    expected = {("intent", "token"): 4.77, ("law", "token"): 5.88, ("intent", "gate"): 4.73, ("law", "gate"): 6.27}
    assert means == expected
    sweep = {
        task: [round(float(experts_per_layer.counts(profile, "token", p).mean()), 1) for p in experts_per_layer.SWEEP]
        for task, profile in profiles.items()
    }
    assert sweep == {
        "intent": [1.2, 2.2, 4.8, 7.6, 11.2, 15.1, 20.2, 26.3, 34.0, 44.2],
        "law": [1.5, 2.7, 5.9, 9.7, 14.2, 19.3, 25.2, 31.8, 39.6, 49.0],
    }


def test_sample_averaging_changes_some_of_the_published_selections(logged: routing.Measured) -> None:
    changed = sum(
        experts_per_layer.changed_by_averaging(profile, score, p)
        for profile in logged.whole().values()
        for _, score, p in experts_per_layer.METHODS
    )
    assert changed == 18  # of 104 layers: 2 tasks, 2 scores, 26 layers


def test_stability_reaches_as_far_as_the_logs_do(logged: routing.Measured) -> None:
    points = selection_stability.curve(logged)
    assert min(points) == routing.SMALLEST
    assert max(points) >= 2**11
    means = [shared.mean() for shared, _ in points.values()]
    assert means[-1] > means[0] > 4
    nested = selection_stability.nested(logged)
    assert max(nested) == 2**13, "all 8,222 tokens of the shorter log are one sample here"
    assert nested[2**13] > nested[routing.SMALLEST] > 4


def test_a_stable_selection_has_to_be_more_stable_than_its_nulls(logged: routing.Measured) -> None:
    trained = replace(logged, kind=routing.TRAINED, base="tiny")
    null = replace(trained, kind=routing.REDRAWN)
    (alone,) = selection_stability.claims_of([logged])
    assert alone.verdict is Verdict.HOLDS
    (same,) = selection_stability.claims_of([trained, null])
    assert same.verdict is Verdict.UNDECIDED, "as stable as its null"
    (shifted,) = token_coverage.claims_of([_covered(trained, 0.5), _covered(null, 0.5)])
    assert shifted.verdict is Verdict.UNDECIDED
    (better,) = token_coverage.claims_of([_covered(trained, 0.5), _covered(null, 0.2)])
    assert better.verdict is Verdict.HOLDS


def test_stability_worked_by_hand() -> None:
    small, full = _profile([[4, 3, 1, 0]]), _profile([[4, 0, 3, 1]])
    assert selection_stability.top_shared(small, full).tolist() == [1]  # {0, 1} and {0, 2}
    assert selection_stability.jaccard(small, full).tolist() == [1]  # both {0}, whose share is 0.5


def test_coverage_worked_by_hand() -> None:
    chosen = ExpertSelection({3: [0, 1], 5: [2]})
    ids = np.array([[[0, 1], [2, 3]], [[2, 0], [3, 1]]])  # two layers, two tokens, two experts each
    assert token_coverage.hit_shares(chosen, [3, 5], ids, 4).tolist() == [[1.0, 0.0], [0.5, 0.0]]


def test_coverage_of_the_published_logs_is_of_samples_not_selected_from(reference_data: Path) -> None:
    logged, logs = routing.read_logs(reference_data), routing.load_logs(reference_data)
    odd = {task: token_coverage._odd(log) for task, log in logs.items()}
    for task, log in odd.items():
        assert log.expert_ids.shape[1] == logged.full(1)[task].tokens
        assert logged.full(0)[task].tokens + log.expert_ids.shape[1] == logs[task].expert_ids.shape[1]
    found = token_coverage.coverage_of(logged, odd, {})
    for task, shares in found.own().items():
        assert shares.mean() > 2 * found.others()[task].mean()


def test_the_four_experiments_share_profiles_and_write_sections(tmp_path: Path) -> None:
    arguments = ["--tasks", "law", "math", "--tokens", "1024", "--output", str(tmp_path)]
    assert routing_concentration.main(arguments) == 0
    profiles = {path: path.stat().st_mtime_ns for path in (tmp_path / "profiles").rglob("*.safetensors")}
    assert profiles
    for experiment in MAINS:
        assert experiment.main(arguments) == 0
        section = (tmp_path / experiment.NAME / "section.md").read_text()
        assert "untrained model" in section
        assert "trained" in section
    assert {path: path.stat().st_mtime_ns for path in profiles} == profiles  # measured once
    logs = list((tmp_path / "profiles").glob("*-tokens.npz"))
    assert len(logs) == 6  # two tasks; trained and both nulls
    assert all(RoutingLog.load(path).expert_ids.shape[1] >= token_coverage.TOKENS for path in logs)
