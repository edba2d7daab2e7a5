"""Groups of experts from hand-made co-occurrence, and the selection of whole groups."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from esft_lightning.affinity import (
    ExpertGrouping,
    ExpertSelection,
    co_occurrence,
    group_by_co_occurrence,
    select_groups,
    select_random_groups,
    select_top_p,
)
from esft_lightning.affinity.grouping import cosine_similarity, group_scores


def test_co_occurrence_counts_pairs_of_a_token() -> None:
    counts = co_occurrence(np.array([[0, 1], [1, 0], [1, 3]]), 4)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [[2, 2, 0, 0], [2, 3, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]])


def test_cosine_of_rows_and_of_an_expert_never_chosen() -> None:
    similarity = cosine_similarity(np.array([[3, 4, 0], [4, 3, 0], [0, 0, 0]]))
    np.testing.assert_allclose(similarity, [[1, 0.96, 0], [0.96, 1, 0], [0, 0, 0]])


def test_experts_chosen_together_are_bound() -> None:
    tokens = np.array([[0, 5]] * 9 + [[1, 4]] * 5 + [[2, 3]] * 7)
    groups = group_by_co_occurrence(co_occurrence(tokens, 6), 2)
    assert sorted(groups) == [[0, 5], [1, 4], [2, 3]]
    fours = np.array([[0, 2, 4, 6]] * 5 + [[1, 3, 5, 7]] * 8 + [[0, 1, 2, 3]])
    assert sorted(group_by_co_occurrence(co_occurrence(fours, 8), 4)) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_groups_of_one_are_the_experts() -> None:
    assert group_by_co_occurrence(np.zeros((3, 3)), 1) == [[0], [1], [2]]


@pytest.mark.parametrize(("experts", "size"), [(12, 2), (12, 3), (16, 4)])
def test_equals_the_greedy_rule_step_by_step(experts: int, size: int) -> None:
    rng = np.random.default_rng(experts * size)
    tokens = np.stack([rng.permutation(experts)[:5] for _ in range(400)])
    counts = co_occurrence(tokens, experts)
    similarity = cosine_similarity(counts)
    left, expected = set(range(experts)), []
    while left:
        best = max(
            combinations(sorted(left), size),
            key=lambda subset: np.mean([similarity[a, b] for a, b in combinations(subset, 2)]),
        )
        expected.append(list(best))
        left -= set(best)
    assert group_by_co_occurrence(counts, size) == expected


def test_equal_subsets_lower_ids_first() -> None:
    assert group_by_co_occurrence(np.ones((6, 6)), 2) == [[0, 1], [2, 3], [4, 5]]


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="divisor of 6"):
        group_by_co_occurrence(np.ones((6, 6)), 4)
    with pytest.raises(ValueError, match="174,792,640 subsets of 4"):
        group_by_co_occurrence(np.ones((256, 256)), 4)


def test_whole_groups_are_selected_by_their_mean_affinity() -> None:
    grouping = ExpertGrouping(2, {3: [[0, 3], [1, 2]]})
    scores = np.array([[0.5, 0.2, 0.2, 0.1]])
    np.testing.assert_allclose(group_scores(scores, [3], grouping), [[0.3, 0.2]])
    assert select_groups(scores, [3], grouping, top_p=0.6).experts == {3: [0, 3]}
    assert select_groups(scores, [3], grouping, top_p=0.61).experts == {3: [0, 3, 1, 2]}
    assert select_groups(scores, [3], grouping, top_k=2).experts == {3: [0, 3]}
    with pytest.raises(ValueError, match="multiple of 2"):
        select_groups(scores, [3], grouping, top_k=3)
    with pytest.raises(ValueError, match="another model"):
        select_groups(np.ones((1, 6)), [3], grouping, top_p=0.1)


def test_groups_of_one_select_as_experts_do() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(8), size=2)
    singles = ExpertGrouping(1, {layer: [[expert] for expert in range(8)] for layer in (1, 2)})
    assert select_groups(scores, [1, 2], singles, top_p=0.4) == select_top_p(scores, [1, 2], 0.4)


def test_random_groups_match_the_count() -> None:
    grouping = ExpertGrouping(2, {1: [[0, 3], [1, 2], [4, 5]]})
    drawn = select_random_groups(ExpertSelection({1: [0, 3, 4, 5]}, shared_experts=True), grouping, seed=1)
    pairs = [drawn.experts[1][i : i + 2] for i in (0, 2)]
    assert drawn.shared_experts and pairs[0] != pairs[1] and all(pair in grouping.groups[1] for pair in pairs)


def test_a_grouping_is_kept_in_a_file(tmp_path: Path) -> None:
    grouping = ExpertGrouping(2, {10: [[0, 3], [1, 2]], 2: [[0, 1], [2, 3]]})
    grouping.save(tmp_path / "g.json", made_from={"tokens": 5})
    assert ExpertGrouping.load(tmp_path / "g.json") == grouping
    assert ExpertGrouping.load(tmp_path / "g.json").digest == grouping.digest
    (tmp_path / "bad.json").write_text('{"size": 2, "groups": {"1": [[0, 1], [1, 2]]}}')
    with pytest.raises(ValueError, match=r"bad\.json: groups\[1\]: expected every expert from 0 to 3 once"):
        ExpertGrouping.load(tmp_path / "bad.json")
