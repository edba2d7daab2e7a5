"""Selection rules against exact arithmetic and brute force; the official file format against bad and released files."""

import json
import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.affinity.selection import ExpertSelection, select_random, select_top_k, select_top_p

counts_of_layers = st.integers(1, 12).flatmap(
    lambda experts: st.lists(
        st.lists(st.integers(0, 30), min_size=experts, max_size=experts).filter(any), min_size=1, max_size=4
    )
)
decimals = st.integers(1, 1000).map(lambda n: n / 1000)


def exact_prefix(counts: list[int], p: Fraction) -> list[int]:
    """Eq. 8 as written, in exact arithmetic: the shortest prefix, by descending share, whose sum is at least p."""
    order = sorted(range(len(counts)), key=lambda e: (-counts[e], e))
    total, reached = sum(counts), Fraction(0)
    for n, expert in enumerate(order, start=1):
        reached += Fraction(counts[expert], total)
        if reached >= p:
            return order[:n]
    return order


@given(counts_of_layers, decimals)
@settings(max_examples=100, deadline=None)
def test_top_p_equals_exact_arithmetic(layers, p):
    counts = np.array(layers)
    selection = select_top_p(counts / counts.sum(1, keepdims=True), range(len(layers)), p)
    assert list(selection.experts.values()) == [exact_prefix(row, Fraction(str(p))) for row in layers]
    assert selection.unreached == ()


@given(counts_of_layers, decimals)
@settings(max_examples=60, deadline=None)
def test_top_p_equals_exact_arithmetic_on_float32_scores(layers, p):
    counts = np.array(layers)
    scores = (counts / counts.sum(1, keepdims=True)).astype(np.float32)
    selection = select_top_p(scores, range(len(layers)), p)
    assert list(selection.experts.values()) == [exact_prefix(row, Fraction(str(p))) for row in layers]


@given(st.lists(st.integers(0, 30), min_size=2, max_size=32), st.data(), st.sampled_from((np.float64, np.float32)))
@settings(max_examples=150, deadline=None)
def test_sums_that_equal_p_in_exact_arithmetic_reach_it(counts, data, dtype):
    """Every p here is a prefix's exact sum: 0.7 + 0.1 reaches 0.8, though in binary it is less."""
    counts = [*counts, 1000 - sum(counts)]
    order = sorted(range(len(counts)), key=lambda e: (-counts[e], e))
    reached = data.draw(st.sampled_from(np.cumsum([counts[e] for e in order]).tolist()))
    scores = (np.array([counts]) / 1000).astype(dtype)
    assert select_top_p(scores, [0], reached / 1000).experts[0] == exact_prefix(counts, Fraction(reached, 1000))


def test_a_sum_that_falls_short_by_a_count_does_not_reach_p():
    """The allowance for rounding is far smaller than one choice of one expert in a profile of 2^17 tokens, K = 8."""
    step = 1 / (2**17 * 8)
    assert select_top_p(np.array([[0.5 - step, 0.3, 0.2 + step]]), [0], 0.5).experts[0] == [0, 1]
    assert select_top_p(np.array([[0.5, 0.3, 0.2]]), [0], 0.5).experts[0] == [0]


@given(counts_of_layers, decimals, st.integers(-60, 60))
@settings(max_examples=60, deadline=None)
def test_scaling_scores_and_p_by_a_power_of_two_changes_nothing(layers, p, exponent):
    scores = np.array(layers) / 30
    scaled = select_top_p(scores * 2.0**exponent, range(len(layers)), p * 2.0**exponent)
    assert scaled == select_top_p(scores, range(len(layers)), p)


def test_ties_go_to_the_lower_id():
    scores = np.array([[0.1, 0.2, 0.2, 0.1, 0.2, 0.2]])
    assert select_top_p(scores, [7], 0.75).experts == {7: [1, 2, 4, 5]}
    assert select_top_k(scores, [7], 5).experts == {7: [1, 2, 4, 5, 0]}


def test_at_least_one_expert_however_small_p_is():
    assert select_top_p(np.array([[0.3, 0.7]]), [1], 1e-12).experts == {1: [1]}


def test_unreached_p_selects_all_and_says_where(caplog):
    scores = np.array([[0.1, 0.2], [0.5, 0.4], [0.2, 0.2]])
    with caplog.at_level(logging.WARNING):
        selection = select_top_p(scores, [3, 5, 6], 0.5)
    assert selection.experts == {3: [1, 0], 5: [0], 6: [0, 1]}
    assert selection.unreached == (3, 6)
    assert "layers 3, 6" in caplog.text and "all 2 experts" in caplog.text


def test_a_layer_without_affinity_keeps_all_experts():
    assert select_top_p(np.zeros((1, 3)), [0], 0.1).experts == {0: [0, 1, 2]}


@given(counts_of_layers, st.data())
@settings(max_examples=60, deadline=None)
def test_top_k_holds_the_k_highest(layers, data):
    k = data.draw(st.integers(1, len(layers[0])))
    for row, ids in zip(layers, select_top_k(np.array(layers), range(len(layers)), k).experts.values(), strict=True):
        assert ids == sorted(range(len(row)), key=lambda e: (-row[e], e))[:k]


@pytest.mark.parametrize(
    ("scores", "layers", "p", "message"),
    [
        (np.ones((2, 3)), [1], 0.1, r"\[2, 3\]; expected \[1 layers, experts\]"),
        (np.ones(3), [1, 2, 3], 0.1, r"expected \[3 layers"),
        (np.ones((2, 3)), [1, 1], 0.1, "repeat"),
        (np.array([[0.1, np.nan]]), [4], 0.1, "layer 4, expert 1 is nan"),
        (np.array([[0.1, -0.1]]), [4], 0.1, "layer 4, expert 1 is -0.1"),
        (np.ones((1, 3)), [1], 0.0, "p=0.0"),
        (np.ones((1, 3)), [1], float("nan"), "p=nan"),
    ],
)
def test_top_p_refuses_bad_input(scores, layers, p, message):
    with pytest.raises(ValueError, match=message):
        select_top_p(scores, layers, p)


@pytest.mark.parametrize("k", [0, 4])
def test_top_k_refuses_k_out_of_range(k):
    with pytest.raises(ValueError, match="expected 1 to 3"):
        select_top_k(np.ones((1, 3)), [1], k)


def test_random_takes_the_same_number_per_layer_and_keeps_the_switches():
    like = ExpertSelection({1: [5, 3], 4: [0], 6: []}, shared_experts=True, non_expert_modules=True)
    drawn = select_random(like, 64, seed=3)
    assert drawn.per_layer() == {1: 2, 4: 1, 6: 0}
    assert drawn.shared_experts and drawn.non_expert_modules
    assert select_random({1: 2, 4: 1, 6: 0}, 64, seed=3).experts == drawn.experts


def test_random_order_is_the_same_on_every_machine():
    """Stored numbers: a change here changes every published random baseline."""
    assert select_random({1: 5, 2: 3}, 64, seed=0).experts == {1: [35, 48, 38, 54, 36], 2: [46, 3, 10]}


def test_random_draws_differ_by_seed_and_layer_and_are_uniform():
    draws = [select_random(dict.fromkeys(range(5), 4), 16, seed).experts for seed in range(200)]
    assert len({tuple(ids) for draw in draws for ids in draw.values()}) > 980
    times = np.bincount([e for draw in draws for ids in draw.values() for e in ids], minlength=16)
    assert np.abs(times - 250).max() < 5 * np.sqrt(250)


def test_random_refuses_more_than_there_are():
    with pytest.raises(ValueError, match="layer 2 asks for 9 random experts; expected 0 to 8"):
        select_random({2: 9}, 8, seed=0)


@given(
    st.dictionaries(st.integers(0, 99), st.lists(st.integers(0, 511), unique=True, max_size=8)),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_save_and_load_round_trip(tmp_path_factory, experts, shared, rest):
    path = tmp_path_factory.mktemp("selection") / "new_folder" / "expert_cfg.json"
    selection = ExpertSelection(experts, shared, rest)
    selection.save(path)
    loaded = ExpertSelection.load(path)
    assert loaded == selection
    assert list(loaded.experts) == sorted(experts)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("task", ["intent", "law"])
def test_released_configs_round_trip(reference_data: Path, tmp_path: Path, task: str):
    released = reference_data / f"esft/expert_configs/{task}.json"
    selection = ExpertSelection.load(released)
    assert sorted(selection.experts) == list(range(1, 27))
    selection.save(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(released.read_text())
    selection.check_fits(range(1, 27), 64)


GOOD = {"experts": {"1": [3, 0]}, "shared_experts": False, "non_expert_modules": True}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "holds a list"),
        ({k: v for k, v in GOOD.items() if k != "shared_experts"}, "'shared_experts' is missing"),
        (GOOD | {"shared_expert": True}, "'shared_expert'; did you mean 'shared_experts'"),
        (GOOD | {"shared_experts": 1}, "'shared_experts' is 1; expected true or false"),
        (GOOD | {"experts": [[1]]}, "'experts' is a list"),
        (GOOD | {"experts": {"one": [1]}}, r"experts\['one'\]"),
        (GOOD | {"experts": {"-1": [1]}}, r"experts\['-1'\]"),
        (GOOD | {"experts": {"01": [1]}}, r"experts\['01'\]"),
        (GOOD | {"experts": {"3": 7}}, r"experts\['3'\] is 7; expected a list"),
        (GOOD | {"experts": {"3": [1, "2"]}}, r"experts\['3'\]\[1\] is '2'"),
        (GOOD | {"experts": {"3": [1, True]}}, r"experts\['3'\]\[1\] is True"),
        (GOOD | {"experts": {"3": [-1]}}, r"experts\['3'\]\[0\] is -1"),
        (GOOD | {"experts": {"3": [4, 1, 4]}}, r"experts\['3'\] names expert 4 twice"),
    ],
)
def test_bad_config_names_file_and_key(tmp_path: Path, document, message):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message) as caught:
        ExpertSelection.load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"experts": {"1": [1], "1": [2]}}'])
def test_unreadable_config_names_the_file(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.json: "):
        ExpertSelection.load(path)


def test_missing_config_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        ExpertSelection.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("experts", "message"),
    [({9: [0]}, r"no MoE layer 9; its MoE layers are 1–3, 5"), ({2: [1, 8]}, "expert 8 does not exist")],
)
def test_check_fits_names_what_the_model_lacks(experts, message):
    with pytest.raises(ValueError, match=message):
        ExpertSelection(experts).check_fits([1, 2, 3, 5], 8)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "expert_cfg.json"
    ExpertSelection({1: [2]}).save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        ExpertSelection({1: [2]}, shared_experts=object()).save(path)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
