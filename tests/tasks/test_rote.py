"""What rote earns: the best constant is found, and the baselines are what they say."""

import pytest

from esft_lightning.tasks.rote import rote_baselines

YES, NO = "The red king sleeps.", "The old hens run."


def rows(*answers: str) -> list[dict]:
    return [{"raw_answers": [answer], "metric": "content_words"} for answer in answers]


def test_the_best_constant_is_found_among_training_answers():
    rote = rote_baselines("translation", [NO, NO, NO, YES], rows(YES, YES, YES, NO))
    assert rote.constant == pytest.approx(0.75)
    assert rote.constant_answer == YES
    assert rote.best == rote.constant


def test_a_reference_may_be_the_best_constant():
    assert rote_baselines("translation", ["A cat."], rows(YES, YES, NO)).constant_answer == YES


def test_random_and_last_shot_are_drawn_from_what_is_given():
    assert rote_baselines("translation", [YES], rows(YES, YES)).random == 1.0
    rote = rote_baselines("translation", [YES], rows(YES, NO), last_shots=[NO, NO])
    assert (rote.random, rote.last_shot) == (pytest.approx(0.5), pytest.approx(0.5))
    many = rote_baselines("translation", [YES, NO], rows(*[YES] * 200))
    assert many.random == pytest.approx(0.5, abs=0.06)


def test_math_has_a_candidate_for_each_final_number():
    answers = ["1+1=2. #### 2", "3-1=2. #### 2", "2+3=5. #### 5"]
    rote = rote_baselines("math", answers, [{"raw_answers": ["4/2=2. #### 2"]}] * 3 + [{"raw_answers": ["#### 9"]}])
    assert rote.constant == pytest.approx(0.75)
    assert rote.constant_answer.endswith("#### 2")


def test_code_is_run_only_where_the_answer_defines_what_the_row_asks_for():
    row = {"raw_answers": ["def f(x):\n    return x"], "tests": ["assert f(1) == 1"], "entry_point": "f"}
    other = {**row, "entry_point": "g", "tests": ["assert g(1) == 1"], "raw_answers": ["def g(x):\n    return x"]}
    rote = rote_baselines("code", ["def f(x):\n    return x"], [row, other], allow_code_execution=True)
    assert rote.constant == 0.5


def test_nothing_to_draw_from_is_said():
    with pytest.raises(ValueError, match="law: 0 training answers and 1 rows"):
        rote_baselines("law", [], [{"raw_answers": ["x"]}])
