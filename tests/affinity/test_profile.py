"""The profile artifact: scores against the equations, round trips, and refusal of what is not a profile."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from esft_lightning.affinity.profile import AffinityProfile
from esft_lightning.affinity.selection import select_top_p

SUMS = ("token_count", "gate_sum", "sample_token", "sample_gate")
WANTED = {"model_fingerprint": "m1", "data_fingerprint": "d1", "counting": "response", "token_budget": 4096}


def make_profile(renormalized: bool = False, **metadata) -> AffinityProfile:
    """Two samples (2 and 1 tokens) through layers 1 and 3 of a model with 4 experts, 2 chosen per token."""
    ids = np.array([[[0, 1], [1, 2], [3, 1]], [[2, 3], [3, 0], [3, 2]]])
    gates = np.array([[[0.5, 0.2], [0.3, 0.1], [0.4, 0.3]], [[0.6, 0.3], [0.2, 0.1], [0.5, 0.1]]])
    if renormalized:
        gates = gates / gates.sum(-1, keepdims=True)
    sums = {name: np.zeros((2, 4)) for name in SUMS}
    for row in range(2):
        for token, length in enumerate((2, 2, 1)):
            for expert, gate in zip(ids[row, token], gates[row, token], strict=True):
                for name, value in zip(SUMS, (1, gate, 1 / length, gate / length), strict=True):
                    sums[name][row, expert] += value
    sums["token_count"] = sums["token_count"].astype(np.int64)
    return AffinityProfile(layers=(1, 3), num_experts=4, top_k=2, tokens=3, samples=2, metadata=metadata, **sums)


def test_scores_are_the_equations_worked_by_hand():
    profile = make_profile()
    np.testing.assert_allclose(profile.scores("token")[0], [1 / 6, 3 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(profile.scores("gate")[0], [0.5 / 3, 0.8 / 3, 0.1 / 3, 0.4 / 3])
    # eq. 7: first sample 1/2 · [1, 2, 1, 0] / 2, second [0, 1, 0, 1] / 2, then their mean
    np.testing.assert_allclose(profile.scores("token", "sample")[0], [1 / 8, 2 / 8 + 1 / 4, 1 / 8, 1 / 4])
    np.testing.assert_allclose(profile.scores("gate", "sample")[0], [0.125, 0.125 + 0.15, 0.025, 0.2])


@pytest.mark.parametrize("average", ["token", "sample"])
@pytest.mark.parametrize("score", ["token", "gate"])
def test_normalised_scores_sum_to_one_and_ignore_the_scale_of_gates(score, average):
    profile = make_profile()
    scores = profile.scores(score, average, normalize=True)
    np.testing.assert_allclose(scores.sum(1), 1)
    larger = replace(profile, gate_sum=profile.gate_sum * 16, sample_gate=profile.sample_gate * 16)
    np.testing.assert_allclose(larger.scores(score, average, normalize=True), scores)
    for p in (0.2, 0.5, 0.9):
        assert select_top_p(scores, profile.layers, p) == select_top_p(
            larger.scores(score, average, normalize=True), profile.layers, p
        )


@pytest.mark.parametrize(
    ("arguments", "message"), [(("gates",), "score='gates'"), (("gate", "mean"), "average='mean'")]
)
def test_unknown_score_or_average_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_profile().scores(*arguments)


def test_save_and_load_round_trip(tmp_path: Path):
    profile = make_profile(**WANTED, renormalized=False, note="é")
    path = tmp_path / "folder" / "profile.safetensors"
    profile.save(path)
    loaded = AffinityProfile.load(path)
    for item in fields(profile):
        np.testing.assert_array_equal(getattr(loaded, item.name), getattr(profile, item.name))
    assert loaded.token_count.dtype == np.int64 and loaded.gate_sum.dtype == np.float64
    assert list(path.parent.iterdir()) == [path]


def test_differences_say_what_a_profile_was_not_made_from():
    profile = make_profile(**WANTED)
    assert profile.differences(WANTED) == []
    for key, other in {"model_fingerprint": "m2", "counting": "all", "token_budget": None}.items():
        (difference,) = profile.differences(WANTED | {key: other})
        assert difference.startswith(key)
    assert make_profile().differences(WANTED)[0] == "model_fingerprint is not recorded"


def test_renormalised_gates_are_recognised_and_a_raw_p_warned_of():
    assert not make_profile().gates_renormalized
    renormalised = make_profile(renormalized=True)
    assert renormalised.gates_renormalized
    np.testing.assert_allclose(renormalised.gate_mass(), 1)
    assert "--normalize" in (renormalised.raw_p_warning("gate", normalize=False) or "")
    assert renormalised.raw_p_warning("gate", normalize=True) is None
    assert renormalised.raw_p_warning("token", normalize=False) is None
    assert make_profile().raw_p_warning("gate", False) is None


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({"gate_function": "sigmoid"}, "makes its gates by sigmoid"),
        ({"scaling_factor": 16.0}, "multiplies its gates by 16"),
    ],
)
def test_gates_that_are_not_plain_softmax_are_warned_of(recorded, told):
    assert told in (replace(make_profile(), metadata=recorded).raw_p_warning("gate", False) or "")
    plain = {"gate_function": "softmax", "scaling_factor": 1.0, "renormalized": False}
    assert replace(make_profile(), metadata=plain).raw_p_warning("gate", False) is None


def test_renormalisation_is_believed_when_recorded_and_seen_when_denied():
    assert replace(make_profile(), metadata={"renormalized": True}).raw_p_warning("gate", False)
    assert replace(make_profile(renormalized=True), metadata={"renormalized": False}).gates_renormalized
    scaled = make_profile(renormalized=True)
    scaled = replace(scaled, gate_sum=scaled.gate_sum * 2.5, sample_gate=scaled.sample_gate * 2.5)
    assert scaled.gates_renormalized
    assert not make_profile(renormalized=False).gates_renormalized


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (1, 1)}, "distinct"),
        ({"layers": (1, 2, 3)}, r"token_count has shape \[2, 4\]; expected \[layers, experts\] = \[3, 4\]"),
        ({"top_k": 5}, "top_k is 5"),
        ({"tokens": 4}, r"layer 1 sums to 6; expected tokens × top_k = 4 × 2 = 8"),
        ({"samples": 0}, "0 samples"),
        ({"samples": 4}, "4 samples"),
        ({"gate_sum": np.full((2, 4), np.nan)}, "gate_sum holds"),
        ({"metadata": {"counting": "some"}}, "counting"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(make_profile(), **change)


def written(path: Path, *, header: dict | str | None = None, tensors: dict | None = None) -> Path:
    """A safetensors file that differs from a good profile in the header keys or tensors given."""
    profile = make_profile()
    good = {"version": 1, "layers": [1, 3], "num_experts": 4, "top_k": 2, "tokens": 3, "samples": 2, "metadata": {}}
    text = header if isinstance(header, str) else json.dumps(good | (header or {}))
    arrays = {name: getattr(profile, name) for name in SUMS} | (tensors or {})
    save_file({k: v for k, v in arrays.items() if v is not None}, path, metadata={"esft_affinity_profile": text})
    return path


def test_the_hand_written_file_is_itself_good(tmp_path: Path):
    assert AffinityProfile.load(written(tmp_path / "p.safetensors")).tokens == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"version": 2}}, "version 2 is unknown; this release reads 1"),
        ({"header": {"version": None}}, "version None"),
        ({"header": "["}, "Expecting value"),
        ({"header": "[]"}, "version None"),
        ({"header": {"top_k": "2"}}, "'top_k' is '2'; expected a int"),
        ({"header": {"layers": [1]}}, "shape"),
        ({"tensors": {"gate_sum": None}}, "'gate_sum' is missing"),
        ({"tensors": {"gate_sum": np.zeros((2, 4), np.float32)}}, "'gate_sum' is float32; expected float64"),
        ({"tensors": {"sample_gate": np.zeros((2, 5))}}, r"sample_gate has shape \[2, 5\]"),
        ({"header": {"tokens": 5}}, "tokens × top_k"),
    ],
)
def test_bad_profile_names_the_file(tmp_path: Path, change, message):
    path = written(tmp_path / "bad.safetensors", **change)
    with pytest.raises(ValueError, match=message) as caught:
        AffinityProfile.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_damaged_and_foreign_files_name_the_file(tmp_path: Path):
    good = tmp_path / "good.safetensors"
    make_profile().save(good)
    content = good.read_bytes()
    for number, damaged in enumerate((b"", b"x" * 100, content[:-9], content[:40])):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{number}\.safetensors: not a safetensors file"):
            AffinityProfile.load(path)
    save_file({"weight": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors: no affinity profile"):
        AffinityProfile.load(tmp_path / "weights.safetensors")
    with pytest.raises(FileNotFoundError):
        AffinityProfile.load(tmp_path / "none.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        AffinityProfile.load(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "profile.safetensors"
    make_profile().save(path)
    with pytest.raises(TypeError):
        make_profile(broken=object()).save(path)
    assert AffinityProfile.load(path).tokens == 3
    assert list(tmp_path.iterdir()) == [path]


def test_profiles_of_disjoint_samples_add_up():
    profile = make_profile(counting="all")
    double = profile.plus(make_profile())
    assert (double.tokens, double.samples) == (6, 4)
    for score in ("gate", "token"):
        np.testing.assert_allclose(double.scores(score), profile.scores(score))
    np.testing.assert_array_equal(double.token_count, 2 * profile.token_count)


def test_profiles_of_different_models_or_counting_do_not_add_up():
    with pytest.raises(ValueError, match=r"differ in layers: \(1, 3\) and \(1, 4\)"):
        make_profile().plus(replace(make_profile(), layers=(1, 4)))
    with pytest.raises(ValueError, match="one profile counts all tokens, the other response"):
        make_profile().plus(make_profile(counting="response"))
