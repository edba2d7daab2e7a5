"""The math scorer on published answers: each in every form of `benchmarks.math_forms`, and pairs of different ones."""

from pathlib import Path

import pytest

from benchmarks.math_forms import FORMS, NUMBER_FORMS, is_plain_number
from benchmarks.scoring import different_pairs, equal_answers, math_answers
from esft_lightning.tasks.math_score import same_answer, score_math


@pytest.fixture(scope="module")
def answers(reference_data: Path) -> list[str]:
    return list(dict.fromkeys(answer for some in math_answers(reference_data).values() for answer in some))


def test_there_are_at_least_twenty_forms() -> None:
    assert len(FORMS) >= 20
    assert len({form("1250") for form in (*FORMS.values(), *NUMBER_FORMS.values())}) == len(FORMS) + len(NUMBER_FORMS)


@pytest.mark.parametrize("name", FORMS)
def test_published_answers_are_right_in_every_form(answers: list[str], name: str) -> None:
    wrong = [answer for answer in answers if not score_math(FORMS[name](answer), {"raw_answers": [answer]})]
    assert len(wrong) <= 0.01 * len(answers), wrong


@pytest.mark.parametrize("name", NUMBER_FORMS)
def test_published_numbers_are_right_with_units_currencies_and_separators(answers: list[str], name: str) -> None:
    numbers = [answer for answer in answers if is_plain_number(answer)][::4]
    assert len(numbers) > 80
    wrong = [number for number in numbers if not score_math(NUMBER_FORMS[name](number), {"raw_answers": [number]})]
    assert len(wrong) <= 0.01 * len(numbers), wrong


def test_no_pair_of_different_answers_is_right_but_for_the_list(answers: list[str]) -> None:
    known, seen = equal_answers(), 0
    for prediction, stated, other in different_pairs(answers):
        seen += 1
        right = score_math(prediction, {"raw_answers": [other]})
        assert not right or frozenset((stated, other)) in known, (prediction, other)
    assert seen == 2000


def test_the_list_of_equal_answers_is_true() -> None:
    assert equal_answers()
    for one, other in map(tuple, equal_answers()):
        assert same_answer(one, other)
        assert same_answer(other, one)
