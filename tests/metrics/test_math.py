"""The math metric: where the final answer is found, when two are equal, and released GSM8K and MATH solutions."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esft_lightning.metrics.math import as_number, final_answer, same_answer, score_math


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
    with pytest.raises(ValueError, match="empty answer"):
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
