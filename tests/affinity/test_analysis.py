"""Analyses: values worked by hand, brute force, and the figures of the authors' own logs."""

from pathlib import Path

import numpy as np
import pytest

from esft_lightning.affinity.analysis import (
    chance_overlap,
    gate_concentration,
    overlap_matrix,
    routing_entropy,
    specific_mass,
    top_expert_overlap,
    top_mass,
)
from esft_lightning.affinity.routing_log import RoutingLog

EVEN, ODD = slice(0, None, 2), slice(1, None, 2)


@pytest.fixture(scope="module")
def released_logs(reference_data: Path) -> dict[str, RoutingLog]:
    return {task: RoutingLog.load(reference_data / f"esft/routing/{task}.npz") for task in ("intent", "law")}


def test_concentration_of_the_released_logs(released_logs):
    expected = {"intent": (0.075, 0.330), "law": (0.073, 0.277)}
    for task, log in released_logs.items():
        scores = log.profile().scores("gate")
        assert (round(top_mass(scores, 1).mean(), 3), round(top_mass(scores, 6).mean(), 3)) == expected[task]


def test_overlap_of_the_released_logs(released_logs):
    first = {task: log.profile(samples=EVEN).scores("gate") for task, log in released_logs.items()}
    second = {task: log.profile(samples=ODD).scores("gate") for task, log in released_logs.items()}
    tasks, matrix = overlap_matrix(first, second, 6)
    assert tasks == ["intent", "law"]
    assert np.diag(matrix).round(2).tolist() == [5.81, 5.35]
    # Different tasks share no more experts than chance would have them share.
    assert 0.3 <= matrix[0, 1] == matrix[1, 0] <= 1.1 and chance_overlap(6, 64) == 0.5625


def test_concentration_sorts_and_normalises_each_layer():
    np.testing.assert_allclose(
        gate_concentration(np.array([[1, 3, 0, 4], [2, 2, 2, 2]])), [[0.5, 0.375, 0.125, 0], [0.25, 0.25, 0.25, 0.25]]
    )
    assert not gate_concentration(np.zeros((1, 4))).any()


def test_top_mass_bounds():
    scores = np.random.default_rng(0).random((5, 16))
    np.testing.assert_allclose(top_mass(scores, 16), 1)
    assert (np.diff([top_mass(scores, k) for k in range(1, 17)], axis=0) >= 0).all()
    with pytest.raises(ValueError, match="k=17"):
        top_mass(scores, 17)


def test_overlap_equals_brute_force():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 5, (7, 10)), generator.integers(0, 5, (7, 10))
    shared = []
    for row_a, row_b in zip(a, b, strict=True):
        tops = [set(sorted(range(10), key=lambda e, row=row: (-row[e], e))[:3]) for row in (row_a, row_b)]
        shared.append(len(tops[0] & tops[1]))
    assert top_expert_overlap(a, b, 3) == pytest.approx(np.mean(shared))
    assert top_expert_overlap(a, a, 3) == 3


def test_unrelated_tables_overlap_as_chance_says():
    generator = np.random.default_rng(2)
    tables = generator.random((2, 4000, 32))
    assert top_expert_overlap(tables[0], tables[1], 4) == pytest.approx(chance_overlap(4, 32), abs=0.05)


def test_overlap_refuses_tables_and_halves_that_do_not_match():
    with pytest.raises(ValueError, match=r"\[2, 4\] and \[2, 5\]"):
        top_expert_overlap(np.ones((2, 4)), np.ones((2, 5)), 2)
    with pytest.raises(ValueError, match="different tasks"):
        overlap_matrix({"a": np.ones((1, 4))}, {"b": np.ones((1, 4))}, 2)


def test_entropy_of_known_distributions():
    scores = np.array([[1.0, 1, 1, 1], [5, 0, 0, 0], [2, 1, 1, 0]])
    np.testing.assert_allclose(routing_entropy(scores), [2, 0, 1.5])
    np.testing.assert_allclose(routing_entropy(scores * 7, relative=True), [1, 0, 0.75])
    assert routing_entropy(np.ones((1, 1)), relative=True).tolist() == [0]


def test_specific_mass_worked_by_hand():
    first = {"a": np.array([[4.0, 4, 1, 1]]), "b": np.array([[0.0, 1, 1, 8]]), "c": np.array([[1.0, 1, 1, 1]])}
    second = {"a": np.array([[5.0, 1, 0, 0]]), "b": np.array([[0.0, 0, 0, 1]]), "c": np.array([[0.0, 0, 1, 0]])}
    own, others = specific_mass(first, second, 1)
    assert {task: float(share[0]) for task, share in own.items()} == pytest.approx({"a": 0.4, "b": 0.8, "c": 0.25})
    expected = {"a": (0 + 0.25) / 2, "b": (0.1 + 0.25) / 2, "c": (0.1 + 0.1) / 2}
    assert {task: float(share[0]) for task, share in others.items()} == pytest.approx(expected)


def test_routers_that_send_all_tasks_to_the_same_experts_are_concentrated_but_not_specific():
    generator = np.random.default_rng(3)
    common = generator.dirichlet(np.full(16, 0.2), 5)
    halves = [{task: common + generator.random((5, 16)) * 1e-3 for task in "abc"} for _ in range(2)]
    own, others = specific_mass(*halves, 4)
    assert np.mean(list(own.values())) > 0.7
    np.testing.assert_allclose(np.mean(list(own.values())), np.mean(list(others.values())), atol=0.02)


def test_specific_mass_refuses_a_single_task_and_other_tasks():
    table = np.ones((1, 4))
    with pytest.raises(ValueError, match="at least two"):
        specific_mass({"a": table}, {"a": table}, 1)
    with pytest.raises(ValueError, match="differ in shape"):
        specific_mass({"a": table, "b": np.ones((2, 4))}, {"a": table, "b": np.ones((2, 4))}, 1)
