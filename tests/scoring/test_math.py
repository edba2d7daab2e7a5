"""The math metric: where the final answer is found, when two are equal, and released GSM8K and MATH solutions.

Published answers in every form are in `test_math_forms.py`.
"""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esft_lightning.scoring import math_expressions
from esft_lightning.scoring.math_expressions import same_expression
from esft_lightning.tasks.math_score import as_number, final_answer, same_answer, score_math


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("3+4=7. 7*2=14. #### 14", "14"),
        ("#### 1,234\nUser: more? #### 5", "1,234"),
        ("#### 14 apples", "14"),
        ("so we get \\boxed{\\frac{1}{2}} and stop", "\\frac{1}{2}"),
        ("first \\boxed{3}, then \\boxed{x^{2}+1}", "x^{2}+1"),
        ("The answer is: 72", "72"),
        ("The answer is 3. No, the answer is 5 apples.", "5"),
        ("The answer is: \\frac{3}{4}", "\\frac{3}{4}"),
        ("take 10-7 and keep 3", "3"),
        ("it falls to -3.5 degrees", "-3.5"),
        ("it falls to \u22123 degrees", "-3"),
        ("no number at all", None),
        ("", None),
    ],
)
def test_where_the_final_answer_is_found(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("1,234", "1234", True),
        ("1/2", "0.5", True),
        ("\\frac{1}{2}", "\\dfrac12", True),
        ("$12.50", "12.5", True),
        ("50\\%", "50", True),
        ("-3", "3", False),
        ("1,23", "123", False),
        ("0.1", "1/10", True),
        ("100000000000000000001", "100000000000000000000", False),
        ("x + 1", "x+1", True),
        ("x+1", "1+x", True),
        ("x+1", "x+2", False),
        ("(x+1)^2", "x^2+2x+1", True),
        ("\\frac{\\sqrt{3}}{2}", "\\sqrt{3}/2", True),
        ("\\frac{\\sqrt{3}}{2}", "\\frac{\\sqrt{2}}{3}", False),
        ("3\\frac{1}{2}", "3.5", True),
        ("10^{-2}", "0.01", True),
        ("2\\pi", "\\pi+\\pi", True),
        ("(1,2]", "(1, 2]", True),
        ("(1,2]", "[1,2)", False),
        ("\\{1,2\\}", "\\{2,1\\}", True),
        ("(1,2)", "(2,1)", False),
        ("5\\text{ cm}", "5", True),
        ("5\\text{ cm}", "6", False),
        ("90^\\circ", "90", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}", False),
        ("\\infty", "\\infty", True),
        ("\\text{(C)}", "C", True),
        ("\\text{(C)}", "D", False),
        ("\\text{east}", "east", True),
        ("\\text{East}", "east", True),
        ("listen", "silent", False),
        ("1/0", "1/0", True),
    ],
)
def test_when_two_answers_are_equal(first: str, second: str, equal: bool) -> None:
    assert same_answer(first, second) is equal
    assert same_answer(second, first) is equal


@given(st.integers(-(10**15), 10**15))
def test_any_integer_is_read_back_with_and_without_thousands_separators(number: int) -> None:
    assert as_number(f"{number:,}") == as_number(str(number)) == Fraction(number)
    assert score_math(f"some steps. #### {number:,}", {"raw_answers": [str(number)]}) == 1.0
    assert score_math(f"some steps. #### {number + 1}", {"raw_answers": [f"#### {number}"]}) == 0.0
    assert score_math(f"it makes {number:,}.", {"raw_answers": [f"\\boxed{{{number}}}"]}) == 1.0


@given(st.text(max_size=60))
def test_no_text_makes_the_scorer_fail(text: str) -> None:
    assert score_math(text, {"raw_answers": ["#### 7"]}) in (0.0, 1.0)


def test_any_reference_may_be_met_and_an_empty_one_is_refused() -> None:
    assert score_math("#### 8", {"raw_answers": ["7", "8"]}) == 1.0
    with pytest.raises(ValueError, match="blank"):
        score_math("#### 8", {"raw_answers": ["  "]})


def test_released_solutions_meet_their_own_answers(reference_data: Path) -> None:
    gsm8k = [json.loads(line) for line in (reference_data / "math/gsm8k_test.jsonl").open(encoding="utf-8")]
    assert all(
        score_math(row["answer"], {"raw_answers": [row["answer"].split("####")[1].strip()]}) == 1.0 for row in gsm8k
    )
    math500 = [json.loads(line) for line in (reference_data / "math/math500.jsonl").open(encoding="utf-8")]
    assert all(score_math(row["solution"], {"raw_answers": [row["answer"]]}) == 1.0 for row in math500)
    neighbours = list(pairwise(math500))
    same = sum(one["answer"] == two["answer"] for one, two in neighbours)
    assert sum(score_math(one["solution"], {"raw_answers": [two["answer"]]}) for one, two in neighbours) <= same + 2


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("12", "1 2", False),
        ("1/2", "12", False),
        ("10:30", "10", False),
        ("10:30", "30", False),
        ("3.10", "3.1", True),
        ("v3.10", "v3.1", False),
        ("1.2.3", "1.2", False),
        ("1,2", "12", False),
        ("1,2", "1.2", False),
        ("5%", "5", True),
        ("5%", "0.05", False),
        ("(1,2)", "[1,2]", False),
        ("(1,2)", "\\{1,2\\}", False),
        ("[1,2]", "\\{1,2\\}", False),
        ("1,2", "\\{1,2\\}", True),
        ("(1,2)", "1,2", False),
        ("3-5", "-2", False),
        ("3-5", "3", False),
        ("3 to 5", "3-5", True),
        ("2024-01-05", "2018", False),
        ("January 5, 2024", "5", False),
        ("5 cm", "5 m", False),
        ("5 dollars", "$5", True),
        ("5 cents", "$5", False),
        ("1:2", "1/2", False),
        ("52_8", "52", False),
        ("52_8", "52_{8}", True),
        ("52_8", "52_9", False),
        ("x=5", "5", True),
        ("x=5", "y=5", False),
        ("5x - 7y + 11z + 4 = 0", "0", False),
        ("5x-7y+11z+4=0", "-5x+7y-11z-4=0", True),
        ("y=2x+3", "2x+3", True),
        ("9+9=18", "18", True),
        ("2x+3=7", "7", False),
        ("2(x+1)=6", "6", False),
        ("3R^2", "3r^2", False),
        ("2k", "2", False),
        ("2k+2", "2(k+1)", True),
        ("5m", "5", False),
        ("5 m", "5", True),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}", True),
        ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1-\\sqrt5, 1+\\sqrt5", True),
        ("3,5,7", "7, 5 and 3", True),
        ("3, 5, 7", "3", False),
        ("x \\in [-2,7]", "[-2,7]", True),
        ("-2 \\le x \\le 7", "[-2,7]", True),
        ("x < 2 \\text{ or } x > 3", "(-\\infty, 2) \\cup (3, \\infty)", True),
        ("(3,\\infty) \\cup (-\\infty,2)", "(-\\infty, 2) \\cup (3, \\infty)", True),
        ("(-\\infty,2),(3,\\infty)", "(-\\infty, 2) \\cup (3, \\infty)", False),
        ("1\\frac{4}{5}", "9/5", True),
        ("1 4/5", "1.8", True),
        ("14/5", "1 4/5", False),
        ("137½", "137 \\frac{1}{2}", True),
        ("5 million", "5", False),
        ("5 million", "5,000,000", True),
        ("5 dozen", "5", False),
        ("5 hours 30 minutes", "5", False),
        ("10 am", "10", False),
        ("10 a.m.", "10am", True),
        ("0.\\overline{3}", "1/3", True),
        ("6.72 \\times 10^{-5}", ".0000672", True),
        ("6.72e-5", ".0000672", True),
        (".0000672", ".0000673", False),
        ("\\frac{270}7\\text{ degrees}", "270/7", True),
        ("864 \\mbox{ inches}^2", "864 square inches", True),
        ("864 \\mbox{ inches}^2", "864 cm^2", False),
        ("(x,y)=(3,5)", "(3,5)", True),
        ("x=3, y=5", "3,5", True),
        ("x=3, y=5", "5,3", False),
        ("x=3 or x=5", "5,3", True),
        ("xy", "yx", True),
        ("no", "on", False),
        ("\\cot x", "\\frac{\\cos x}{\\sin x}", True),
        ("√3/2", "\\frac{\\sqrt3}{2}", True),
        ("\\sqrt{x^2}", "x", False),
        ("(C)", "(c)", False),
        ("18x", "18", False),
        ("5!", "120", True),
        ("\\left(3, \\frac{\\pi}{2}\\right)", "(3, π/2)", True),
        ("18个", "18", True),
        ("18元", "18", True),
        ("a", "A", False),
        ("1'234", "1234", True),
        ("12 345", "12345", False),
        ("12 345", "12345", True),
        ("+5", "5", True),
        ("05", "5", True),
        ("5.0", "5", True),
        ("5.", "5", True),
        ("18.90", "$18.9", True),
        ("€5", "$5", False),
        ("-0", "0", True),
        ("\\frac{-1}{2}", "-\\frac12", True),
        ("\\frac{1}{-2}", "-\\frac12", True),
        ("3/4 cup", "3/4", True),
        ("3/4 of the cake", "3/4", False),
        ("2*10^3", "2000", True),
        ("-\\frac{\\pi}{6}", "-30^\\circ", False),
        ("1, 2, 2", "1, 2", False),
        ("two", "2", False),
    ],
)
def test_when_two_answers_in_other_notations_are_equal(first: str, second: str, equal: bool) -> None:
    assert same_answer(first, second) is equal
    assert same_answer(second, first) is equal


@pytest.mark.parametrize(
    "huge", ["9^{9^{9^{9}}}", "10000000!", "2^{99999999}", "\\frac{" * 300 + "1" + "}{2}" * 300, "(" * 500 + "1"]
)
def test_towers_and_huge_numbers_are_different_and_hold_up_nothing(huge: str) -> None:
    assert not same_answer(huge, "3")
    assert not score_math(f"The answer is ${huge}$.", {"raw_answers": ["3"]})
    assert same_answer(huge, huge)
    assert same_answer("x+1", "1+x")


def test_an_expression_that_takes_too_long_is_said_and_the_next_one_is_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert same_expression("a+2b", "2b+a")
    with monkeypatch.context() as patch:
        patch.setattr(math_expressions, "SECONDS", 0.0)
        assert not same_expression("a+3b", "3b+a")
    assert "taken as different: 'a+3b' and '3b+a'" in caplog.text
    assert same_expression("a+4b", "4b+a")


@pytest.mark.parametrize(
    "mark", ["answer ", "the answer is ", "\\boxed{", "#### 1\n", "$1 ", "1, ", "**a", "\\[", "(", "9"]
)
def test_long_texts_of_nothing_but_marks_are_read(mark: str) -> None:
    assert score_math(mark * 5000, {"raw_answers": ["7"]}) == 0.0
