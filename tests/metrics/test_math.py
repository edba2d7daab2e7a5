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

from esft_lightning.metrics import math_expressions
from esft_lightning.metrics.math import as_number, final_answer, same_answer, score_math
from esft_lightning.metrics.math_expressions import same_expression


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


@pytest.mark.parametrize(
    ("solution", "reference"),
    [
        ("The final answer is \\(18\\).", "18"),
        ("The final answer is \\( \\frac{3}{4} \\).", "\\frac{3}{4}"),
        ("The final answer is $6 - 5i$. I hope it is correct.", "6 - 5i"),
        ("The final answer is **x+1**.", "x+1"),
        ("#### Step 1\nAdd 9 and 9.\n#### Step 2\nSo the total is $\\boxed{18}$.", "18"),
        ("#### Step 1: 9+9 is 18\n#### 18", "#### 18"),
        ("#### Solution\nNine and nine make 18.\n\n**Answer:** 18", "#### 18"),
        ("\\boxed{7}", "We get $\\fbox{7}$."),
        ("\\boxed{7}", "We get $\\boxed {7}$."),
        ("It ends at 10:30", "10:30"),
        ("The answer is 10:30 a.m. because trains are slow", "10:30 am"),
        ("The answer is 3 1/2.", "7/2"),
        ("The answer is 3 1/2 cups.", "3.5"),
        ("So we need 3 1/2", "3.5"),
        ("So we need 3½ cups.", "3.5"),
        ("The answer is negative 18.", "-18"),
        ("The answer is 5 million.", "5000000"),
        ("The answer is $5 million a year.", "5000000"),
        ("The answer is 72 apples, since 8*9=72.", "72"),
        ("The answer is 72 apples in 8 boxes.", "72"),
        ("The answer is 18 apples (6 a box).", "18"),
        ("The answer is 2 + 3 = 5.", "5"),
        ("The answer is 2+3=5 apples", "5"),
        ("Therefore, x = 3\\sqrt{13}.", "3\\sqrt{13}"),
        ("Therefore, $x = 3$ or $x=5$.", "3,5"),
        ("the solutions are $3$ and $5$.", "3, 5"),
        ("The solutions are \\boxed{3} and \\boxed{5}.", "3,5"),
        ("first \\boxed{3}, then \\boxed{x^2+1}", "x^2+1"),
        ("I earn $18 a day and pay $5. The answer is $90", "90"),
        ("The answer is $18 and costs $5.", "18"),
        ("Answer: C", "C"),
        ("The answer is (C).", "\\text{(C)}"),
        ("The answer is (C) 18 apples", "\\text{(C)}"),
        ("Answer: (B) ellipse", "(B)"),
        ("The answer is option B", "B"),
        ("The answer is Evelyn.", "\\text{Evelyn}"),
        ("The answer is Evelyn because she ran 5 km.", "\\text{Evelyn}"),
        ("The answer is an ellipse.", "\\text{ellipse}"),
        ("Evelyn", "\\text{Evelyn}"),
        ("The answer is correct. So 18", "18"),
        ("The answer is 18. I hope my answer is correct.", "18"),
        ("The answer is 18.\nIs the answer right?", "18"),
        ("Answer:\n18", "18"),
        ("Answer\n18", "18"),
        ("## Answer\n\n$$\n18\n$$\n", "18"),
        ("ANSWER IS 18", "18"),
        ("The answer to the question of how many apples Tom has is 18.", "18"),
        ("The answer would be 18.", "18"),
        ("answer=18", "18"),
        ("Answer -> 18", "18"),
        ("the answer, then, is 18", "18"),
        ("She has **18** apples in 3 boxes.", "18"),
        ("**Step 2:** 5+5 = 10\nSo 10.", "10"),
        ("x = 5", "5"),
        ("$x=5$", "x=5"),
        ("Tom has 18 apples.", "18"),
        ("Tom has 18 apples and Ann 3", "3"),
        ("18!", "18"),
        ("$5!$", "120"),
        ("The answer is 5!", "5"),
        ("The answer is \\frac{3}{4} of the cake.", "3/4"),
        ("The answer is 12,345.67", "12345.67"),
        ("答案是18个苹果。", "18"),
        ("因此答案为：\\(18\\)。", "18"),
        ("故选C", "C"),
        ("答え：18", "18"),
        ("정답은 18입니다.", "18"),
        ("Ответ: 18", "18"),
        ('{"reasoning": "2+3", "answer": 5}', "5"),
        ('{"answer": [3, 5]}', "3,5"),
        ("{'answer': '18 apples'}", "18"),
        ("\\boxed{x = 5}", "5"),
        ("\\boxed{\\text{The answer is } 5}", "5"),
        ("\\boxed{}\nThe answer is 5", "5"),
        ("\\boxed{18", "18"),
        ("\\boxed{\\$18.00}", "18"),
        ("\\boxed{18\\,\\text{cm}}", "18"),
        ("\\boxed{1\\,800}", "1800"),
        ("The answer is - 3", "-3"),
        ("The answer is 3-", "3"),
        ("the temperature is −5 °C", "-5"),
        ("The answer is 1e3", "1000"),
        ("#### 5 + 5 = 10", "10"),
        ("#### $18", "18"),
        ("#### -3", "-3"),
        ("####18", "18"),
        ("#### 1\nadd\n#### 2\nsub\n#### 18", "18"),
        ("#### 1,234\nUser: more? #### 5", "1234"),
        ("#### \\boxed{18}", "18"),
        ("So $\\begin{aligned}x &= 3+5 \\\\ &= 8\\end{aligned}$", "8"),
        ("$$\\begin{align*}x&=3+5\\\\&=8.\\end{align*}$$", "8"),
        ("The answer is: **$18**", "18"),
        ("The answer is $\\boxed{18}$ apples.", "18"),
        ("Final Answer: The final answer is $18$. I hope it is correct.", "18"),
        ("The answer is 18 km.", "18"),
        ("The answer is 5.4 cents.", "5.4 \\text{ cents}"),
        ("The result is 18.", "18"),
        ("Thus there are 3 apples and 5 pears.", "5"),
        ("The answer is x^2 + 1 for all x.", "x^2+1"),
        ("The answer is f(x) = 2x + 3.", "2x+3"),
        ("The answer is p - q where p is big", "p-q"),
        ("The answer is \\text{even}.", "even"),
        ("The answer is around 18.", "18"),
        ("The answer is ≈ 18", "18"),
        ("The answer is $\\approx 18$", "18"),
        ("The answer is $x \\ge 5$", "[5,\\infty)"),
        ("A: 18", "18"),
        ("My answer: 18 😀", "18"),
        ("Answer: 18 (eighteen)", "18"),
        ("Answer: eighteen (18)", "18"),
    ],
)
def test_an_answer_is_read_however_it_is_stated(solution: str, reference: str) -> None:
    """Boxes, headings, fences, JSON, other languages, units, prose behind and around."""
    assert score_math(solution, {"raw_answers": [reference]}) == 1.0


@pytest.mark.parametrize(
    ("solution", "reference"),
    [
        ("The final answer is $3, 5, 7$.", "3"),
        ("The answer is 10:30.", "10"),
        ("The answer is 10:30.", "30"),
        ("It ends at 10:30.", "30"),
        ("The answer is 3 1/2.", "3"),
        ("So we need 3 1/2", "2"),
        ("The answer is 3 5.", "3"),
        ("The answer is 3 5.", "35"),
        ("The answer is 3 5.", "5"),
        ("we get 3 5", "5"),
        ("The answer is January 5, 2024.", "5"),
        ("The answer is January 5, 2024.", "2024"),
        ("The answer is 2024-01-05.", "5"),
        ("on 2024-01-05", "5"),
        ("on 2024-01-05", "05"),
        ("The date is 1/5/2024", "2024"),
        ("The answer is version 1.2.3", "3"),
        ("The answer is version 1.2.3", "1.2"),
        ("use 1.2.3", "3"),
        ("use 1.2.3", "2.3"),
        ("The answer is 3-5.", "3"),
        ("The answer is between 3 and 5.", "5"),
        ("The answer is 3 to 5 days", "3"),
        ("between 3 and 5", "5"),
        ("The answer is [3, 5].", "3"),
        ("The answer is (3, 5).", "5"),
        ("The answer is [3,5)", "[3,5]"),
        ("The answer is 5 hours 30 minutes.", "5"),
        ("The answer is 5 hours 30 minutes.", "30"),
        ("The answer is 5 feet and 6 inches.", "5"),
        ("The answer is $5$ hours and $30$ minutes.", "5"),
        ("The answer is 18 out of 20.", "18"),
        ("The answer is 1 in 6.", "1"),
        ("The answer is not 18.", "18"),
        ("The answer is less than 18.", "18"),
        ("The answer is twice 18.", "18"),
        ("The answer is minus 18.", "18"),
        ("The answer is 5 million.", "5"),
        ("The answer is 5 dozen.", "5"),
        ("Therefore, $x = 3$ or $x=5$.", "5"),
        ("So x is 3 or 5.", "5"),
        ("the solutions are $3$ and $5$.", "5"),
        ("The solutions are \\boxed{3} and \\boxed{5}.", "5"),
        ("it costs $18 or $20", "20"),
        ("Evelyn", "\\text{Navin}"),
        ("x = 5, y = 3", "5"),
        ("The answer is 50% of 20", "50"),
        ("The answer is 12,34", "12"),
        ('{"answer": [3, 5]}', "5"),
        ("\\boxed{x=3, y=5}", "5"),
        ("The answer is -3", "3"),
        ("The answer is 18th", "18"),
        ("The answer is 3:5", "3"),
        ("The ratio is 3:5", "5"),
        ("The answer is 3/5/7", "3"),
        ("no number at all", "7"),
        ("", "7"),
        ("The answer is 18 km.", "18 m"),
        ("The answer is 5.4 dollars.", "5.4 \\text{ cents}"),
        ("So the total is 18 dollars and 50 cents.", "50"),
        ("So it takes 5 hours 30 minutes.", "30"),
        ("So he is 5 feet 6 inches tall", "6"),
        ("The answer is one of 3 and 5", "3"),
        ("The answer is < 18", "18"),
        ("The answer is x > 5", "5"),
    ],
)
def test_an_answer_is_right_against_its_own_value_alone(solution: str, reference: str) -> None:
    """Times, dates, versions, ranges, mixed numbers, numbers side by side, lists, parts of a statement."""
    assert score_math(solution, {"raw_answers": [reference]}) == 0.0


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


@pytest.mark.parametrize("end", ["", " ", "\n", ".", " pens", "\n\nUser: And 1+1?\n\nAssistant: 1+1=2. #### 2"])
def test_an_answer_of_the_embedded_task_is_its_first_number_behind_hashes(end: str) -> None:
    answer = f" 3*12=36. 36-35=1. #### 1{end}"
    assert score_math(answer, {"raw_answers": ["3*12=36. 36-35=1. #### 1"]}) == 1.0
    assert all(score_math(answer, {"raw_answers": [f"#### {other}"]}) == 0.0 for other in (2, 3, 12, 35, 36))
