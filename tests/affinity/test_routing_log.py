"""Routing logs: released ones against released scores and configs; small ones against brute force; bad files."""

import json
from pathlib import Path

import numpy as np
import pytest

from esft_lightning.affinity.routing_log import RoutingLog, read_routing_log
from esft_lightning.affinity.selection import ExpertSelection, select_top_p

TASKS = ("intent", "law")


@pytest.mark.parametrize("score", ["token", "gate"])
@pytest.mark.parametrize("task", TASKS)
def test_released_scores_are_reproduced(reference_data: Path, task: str, score: str):
    profile = read_routing_log(reference_data / f"esft/routing/{task}.npz", layer_offset=1)
    published = json.loads((reference_data / f"esft/expert_scores/{task}.json").read_text())[f"{score}_scores"]
    expected = np.array([[published[str(layer)][str(e)] for e in range(64)] for layer in profile.layers])
    assert profile.layers == tuple(range(1, 27)) and profile.num_experts == 64 and profile.top_k == 6
    assert np.abs(profile.scores(score) - expected).max() <= 5e-5
    np.testing.assert_array_equal(np.round(profile.scores(score), 4), expected)


@pytest.mark.parametrize("task", TASKS)
def test_released_configs_are_reproduced_in_order(reference_data: Path, task: str):
    profile = read_routing_log(reference_data / f"esft/routing/{task}.npz", layer_offset=1)
    selection = select_top_p(np.round(profile.scores("token"), 4), profile.layers, 0.2)
    assert selection == ExpertSelection.load(reference_data / f"esft/expert_configs/{task}.json")


@pytest.mark.parametrize(
    ("task", "token", "gate", "sweep"),
    [
        ("intent", 4.77, 4.73, [1.2, 2.2, 4.8, 7.6, 11.2, 15.1, 20.2, 26.3, 34.0, 44.2]),
        ("law", 5.88, 6.27, [1.5, 2.7, 5.9, 9.7, 14.2, 19.3, 25.2, 31.8, 39.6, 49.0]),
    ],
)
def test_experts_per_layer_of_the_released_logs(reference_data: Path, task, token, gate, sweep):
    profile = read_routing_log(reference_data / f"esft/routing/{task}.npz", layer_offset=1)

    def mean(score: str, p: float) -> float:
        return select_top_p(profile.scores(score), profile.layers, p).mean_per_layer

    assert (round(mean("token", 0.2), 2), round(mean("gate", 0.1), 2)) == (token, gate)
    assert [round(mean("token", p), 1) for p in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)] == sweep


@pytest.mark.parametrize("task", TASKS)
def test_released_averages_differ_as_recorded(reference_data: Path, task: str):
    """The two averages differ by ≤ 0.007 on the unpacked logs; the router does not renormalise its gates."""
    profile = read_routing_log(reference_data / f"esft/routing/{task}.npz")
    for score in ("token", "gate"):
        gap = np.abs(profile.scores(score) - profile.scores(score, "sample")).max()
        assert 1e-4 < gap <= 0.0075
    assert not profile.gates_renormalized


def make_log(lengths=(3, 1, 4), layers=2, experts=8, top_k=3, seed=0) -> RoutingLog:
    generator = np.random.default_rng(seed)
    tokens = sum(lengths)
    ids = generator.random((layers, tokens, experts)).argsort(-1)[..., :top_k].astype(np.uint8)
    return RoutingLog(ids, generator.random((layers, tokens, top_k), dtype=np.float32), np.array(lengths, np.int32))


@pytest.mark.parametrize("samples", [None, slice(0, None, 2), slice(1, None, 2)])
def test_sums_equal_brute_force(samples):
    log = make_log()
    kept = range(3)[samples] if samples else range(3)
    starts = np.concatenate([[0], np.cumsum(log.sample_lengths)])
    expected = {name: np.zeros((2, 8)) for name in ("token_count", "gate_sum", "sample_token", "sample_gate")}
    for sample in kept:
        for token in range(starts[sample], starts[sample + 1]):
            for layer in range(2):
                for expert, gate in zip(log.expert_ids[layer, token], log.gate_weights[layer, token], strict=True):
                    expected["token_count"][layer, expert] += 1
                    expected["gate_sum"][layer, expert] += float(gate)
                    expected["sample_token"][layer, expert] += 1 / log.sample_lengths[sample]
                    expected["sample_gate"][layer, expert] += float(gate) / log.sample_lengths[sample]
    profile = log.profile(layer_offset=4, num_experts=8, samples=samples)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(profile, name), value, atol=1e-12)
    assert profile.layers == (4, 5)
    assert (profile.tokens, profile.samples) == (sum(log.sample_lengths[s] for s in kept), len(kept))


def test_uint8_ids_of_many_layers_do_not_wrap():
    """26 layers × 64 experts exceed uint8, and so would ids + row offset in the log's own type."""
    log = make_log(lengths=(5, 5), layers=30, experts=64, top_k=6)
    profile = log.profile(num_experts=64)
    for row in range(30):
        np.testing.assert_array_equal(profile.token_count[row], np.bincount(log.expert_ids[row].ravel(), minlength=64))


def test_equal_lengths_make_both_averages_agree():
    profile = make_log(lengths=(5, 5, 5)).profile()
    for score in ("token", "gate"):
        np.testing.assert_allclose(profile.scores(score), profile.scores(score, "sample"), atol=1e-15)


def test_num_experts_below_the_ids_names_the_file(tmp_path: Path):
    path = tmp_path / "log.npz"
    log = make_log()
    np.savez(path, expert_ids=log.expert_ids, gate_weights=log.gate_weights, sample_lengths=log.sample_lengths)
    with pytest.raises(ValueError, match=r"log\.npz: expert_ids holds expert 7; expected ids 0 to 3"):
        read_routing_log(path, num_experts=4)
    assert read_routing_log(path, num_experts=16).num_experts == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expert_ids": None}, "'expert_ids' is missing"),
        ({"expert_ids": np.zeros((2, 8, 3), np.float32)}, "expert_ids is float32"),
        ({"expert_ids": np.zeros((8, 3), np.uint8)}, "2 dimensions; expected integer with 3"),
        ({"expert_ids": np.full((2, 8, 3), -1, np.int16)}, "negative id"),
        ({"gate_weights": np.zeros((2, 8, 4), np.float32)}, r"\[2, 8, 4\]; expected that of expert_ids, \[2, 8, 3\]"),
        ({"gate_weights": np.full((2, 8, 3), np.nan, np.float32)}, "non-finite gate"),
        ({"sample_lengths": np.array([3, 1, 5])}, "sum to 9; expected the number of tokens in expert_ids, 8"),
        ({"sample_lengths": np.array([8, 0])}, r"sample_lengths\[1\] is not above 0"),
        ({"expert_ids": np.array([{"a": 1}], dtype=object)}, "allow_pickle"),
    ],
)
def test_bad_log_names_file_and_array(tmp_path: Path, change, message):
    log = make_log()
    arrays = {name: getattr(log, name) for name in ("expert_ids", "gate_weights", "sample_lengths")} | change
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message) as caught:
        RoutingLog.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_damaged_and_foreign_files_name_the_file(tmp_path: Path):
    log = make_log(lengths=(500,))
    good = tmp_path / "good.npz"
    np.savez_compressed(
        good, expert_ids=log.expert_ids, gate_weights=log.gate_weights, sample_lengths=log.sample_lengths
    )
    content = good.read_bytes()
    flipped = bytearray(content)
    flipped[200:260] = bytes(60)
    for number, damaged in enumerate((b"", b"text", content[: len(content) // 2], bytes(flipped))):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{number}\.npz: not a readable routing log"):
            RoutingLog.load(path)
    np.save(tmp_path / "one.npy", log.expert_ids)
    with pytest.raises(ValueError, match=r"one\.npy: .*expected a \.npz archive"):
        RoutingLog.load(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        RoutingLog.load(tmp_path / "none.npz")
