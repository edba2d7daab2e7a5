"""The rules that score the probes of general ability."""

import pytest

from esft_lightning.scoring.general import follows_format, score_choice, score_recall

RULES = [
    ({"rule": "repeat", "words": ["lamp"], "times": 3}, "lamp lamp lamp", ["lamp lamp", "lamp lamp lamp lamp", ""]),
    ({"rule": "capitals", "words": ["lamp"]}, "LAMP", ["lamp", "Lamp", "LAMPS"]),
    ({"rule": "commas", "words": ["sun", "tea"]}, "sun, tea", ["sun tea", "tea, sun", "sun, tea, cup"]),
    ({"rule": "comma_count", "times": 2}, "plum, fig", ["plum", "plum fig", "plum, fig, pear", "plum, "]),
    ({"rule": "full_stop", "words": ["sun", "tea"]}, "sun tea.", ["sun tea", "sun. tea.", "sun"]),
    ({"rule": "quotes", "words": ["sun"]}, '"sun"', ["sun", '"tea"', "'sun'"]),
    ({"rule": "reverse", "words": ["sun", "tea"]}, "tea sun", ["sun tea", "tea", "tea sun tea"]),
    ({"rule": "copy", "words": ["seven"]}, "seven", ["7", "eleven"]),
]


@pytest.mark.parametrize(("row", "right", "wrong"), RULES, ids=[row["rule"] for row, _, _ in RULES])
def test_a_rule_takes_the_right_form_and_refuses_others(row, right, wrong):
    assert follows_format(f" {right}\nmore", row) == 1.0
    for answer in wrong:
        assert follows_format(answer, row) == 0.0, answer


def test_an_unknown_rule_is_named():
    with pytest.raises(KeyError, match="no rule 'rhyme'"):
        follows_format("x", {"rule": "rhyme", "words": ["x"]})


def test_recall_takes_the_value_in_any_case_and_nothing_else():
    row = {"raw_answers": ["Ostwick"]}
    assert score_recall(" ostwick.\n", row) == 1.0
    assert score_recall("Oststad.", row) == 0.0
    assert score_recall('{"town": "Ostwick"}', row) == 0.0
    assert score_recall("", row) == 0.0


def test_a_choice_is_the_highest_score():
    assert score_choice([-2.0, -1.0, -3.0], {"answer": 1}) == 1.0
    assert score_choice([-1.0, -1.0], {"answer": 1}) == 0.0
