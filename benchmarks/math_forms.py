r"""The ways in which solutions state an answer: what the math scorer is held to (`docs/scoring.md`).

A form makes a whole solution out of a reference answer, a LaTeX text such as `\frac{3}{4}`, `(3,4]` or `18`. Forms for
numbers alone (`NUMBER_FORMS`) take answers that are whole or decimal numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

__all__ = ["FORMS", "NUMBER_FORMS", "is_plain_number"]

Form = Callable[[str], str]

_STEPS = "First we add 3 and 4, which makes 7. Then we look at all 12 cases.\n"

FORMS: dict[str, Form] = {
    r"`$\boxed{X}$`": lambda x: f"{_STEPS}So we get $\\boxed{{{x}}}$.",
    r"`\fbox{X}`": lambda x: f"{_STEPS}So we get $\\fbox{{{x}}}$.",
    r"`\boxed {X}`": lambda x: f"{_STEPS}So we get $\\boxed {{{x}}}$.",
    r"`$\boxed X$`": lambda x: f"{_STEPS}So we get $\\boxed {x}$.",
    r"`\[\boxed{X}\]`, prose behind": lambda x: f"{_STEPS}\\[\\boxed{{{x}}}\\]\nThis took 2 steps.",
    "`The answer is X.`": lambda x: f"{_STEPS}The answer is {x}.",
    "`The answer is $X$.`": lambda x: f"{_STEPS}The answer is ${x}$.",
    r"`The answer is \(X\).`": lambda x: f"{_STEPS}The answer is \\({x}\\).",
    r"`The answer is \( X \).`": lambda x: f"{_STEPS}The answer is \\( {x} \\).",
    r"`The answer is:` and `\[X\]` below": lambda x: f"{_STEPS}The answer is:\n\\[\n{x}\n\\]",
    "`The answer is $$X$$`": lambda x: f"{_STEPS}The answer is $${x}$$",
    "`The answer is **X**.`": lambda x: f"{_STEPS}The answer is **{x}**.",
    "``The answer is `X`.``": lambda x: f"{_STEPS}The answer is `{x}`.",
    "`The final answer is $X$. I hope …`": lambda x: f"{_STEPS}The final answer is ${x}$. I hope it is correct.",
    "`So the answer is X, which …`": lambda x: f"{_STEPS}So the answer is {x}, which is what we wanted to find.",
    "`The answer is $X$ because …`": lambda x: f"{_STEPS}The answer is ${x}$ because 3 and 4 make 7.",
    "`The correct answer is: X`, more below": lambda x: f"The correct answer is: {x}\n\nExplanation: 3 and 4 make 7.",
    "`Answer: X`": lambda x: f"{_STEPS}Answer: {x}",
    "`**Answer:** $X$`": lambda x: f"{_STEPS}**Answer:** ${x}$",
    "`**Final Answer**`, X below": lambda x: f"{_STEPS}**Final Answer**\n\n{x}",
    r"`### Final Answer`, `\(X\)` below": lambda x: f"{_STEPS}### Final Answer\n\\({x}\\)",
    "`Final answer: X.`": lambda x: f"{_STEPS}Final answer: {x}.",
    "`#### X`": lambda x: f"{_STEPS}#### {x}",
    "`#### Step 1` before, box": lambda x: f"#### Step 1\n{_STEPS}#### Step 2\nSo it is $\\boxed{{{x}}}$.",
    "`#### 1. Add` before, answer words": lambda x: f"#### 1. Add\n{_STEPS}#### 2. Conclude\n**Answer:** {x}",
    "`# Solution` before, `#### X`": lambda x: f"# Solution\n{_STEPS}\n#### {x}",
    "`Therefore, $x = X$.`": lambda x: f"{_STEPS}Therefore, $x = {x}$.",
    "`Answer: $x = X$`": lambda x: f"{_STEPS}Answer: $x = {x}$",
    "`<think>…</think>` before": lambda x: f"<think>\nOr \\boxed{{98}}?\n</think>\n\nThe answer is ${x}$.",
    "`<answer>X</answer>`": lambda x: f"{_STEPS}<answer>{x}</answer>",
    '`{"answer": "X"}`': lambda x: json.dumps({"steps": 2, "answer": x}),
    '`{"answer": "X"}`, backslashes single': lambda x: f'```json\n{{"answer": "{x}"}}\n```',
    "`<final_answer>X</final_answer>`": lambda x: f"{_STEPS}<final_answer>{x}</final_answer>",
    "`[Answer] X`": lambda x: f"{_STEPS}[Answer] {x}",
    "`The answer is`, X in a ` ```latex ` block": lambda x: f"{_STEPS}The answer is\n```latex\n{x}\n```",
    "`| Answer |`, `$X$` in the table's row below": lambda x: f"{_STEPS}| Answer |\n|---|\n| ${x}$ |",
    "`$X$ is the answer.`": lambda x: f"{_STEPS}${x}$ is the answer.",
    "wrong first, then `the answer is $X$.`": lambda x: f"The answer is 98. No: {_STEPS}The answer is ${x}$.",
    "`Answer: X`, an offer with numbers behind it": lambda x: f"{_STEPS}Answer: {x}\n\nShall I show you 2 more?",
    "CRLF": lambda x: f"{_STEPS}The answer is:\n\n\\[ {x} \\]\n".replace("\n", "\r\n"),
    "`따라서 정답은 $X$입니다.`": lambda x: f"3 더하기 4는 7이다.\n따라서 정답은 ${x}$입니다.",
    "`よって、答えは $X$ です。`": lambda x: f"3 に 4 を足すと 7。\nよって、答えは ${x}$ です。",
    "`Ответ: $X$`": lambda x: f"3 и 4 дают 7.\nОтвет: ${x}$",
    "`答案是 $X$。`": lambda x: f"三加四等于 7。\n所以答案是 ${x}$。",
    "`答案：X`": lambda x: f"三加四等于 7。\n答案：{x}",
    "`La réponse est $X$.`": lambda x: f"3 et 4 font 7.\nLa réponse est ${x}$.",
    "`Die Antwort lautet $X$.`": lambda x: f"3 und 4 sind 7.\nDie Antwort lautet ${x}$.",
    "`$X$` as the last words": lambda x: f"{_STEPS}So what we get in the end is ${x}$.",
    "`**X**` as the last words": lambda x: f"{_STEPS}So what we get in the end is **{x}**.",
    "`X` alone": lambda x: x,
    "`$X$` alone": lambda x: f"${x}$",
}  # fmt: skip
"""Form, with X for the answer → the solution that states X so."""


def is_plain_number(answer: str) -> bool:
    """Whether an answer is a whole or decimal number without sign, unit or LaTeX."""
    return re.fullmatch(r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?", answer) is not None


def _grouped(x: str, separator: str) -> str:
    whole, point, decimals = x.replace(",", "").partition(".")
    return f"{int(whole):,}".replace(",", separator) + point + decimals


def _json_number(x: str) -> int | float:
    return float(x) if "." in x else int(x.replace(",", ""))


NUMBER_FORMS: dict[str, Form] = {
    "`The answer is $X.` (money)": lambda x: f"{_STEPS}The answer is ${x}.",
    r"`The answer is $\$X$.`": lambda x: f"{_STEPS}The answer is $\\${x}$.",
    "`$X a day` (money)": lambda x: f"{_STEPS}The answer is ${x} a day.",
    "`X dollars`": lambda x: f"{_STEPS}The answer is {x} dollars.",
    "`€X`": lambda x: f"{_STEPS}The answer is €{x}.",
    "`X%`": lambda x: f"{_STEPS}The answer is {x}%.",
    r"`$X\%$`": lambda x: f"{_STEPS}The answer is ${x}\\%$.",
    "`X percent`": lambda x: f"{_STEPS}The answer is {x} percent.",
    r"`\boxed{X^\circ}`": lambda x: f"{_STEPS}So $\\boxed{{{x}^\\circ}}$.",
    "`X degrees`": lambda x: f"{_STEPS}The answer is {x} degrees.",
    "`X apples`": lambda x: f"{_STEPS}The answer is {x} apples.",
    "`Tom has X apples left`": lambda x: f"{_STEPS}The answer is that Tom has {x} apples left.",
    r"`\boxed{X \text{ cm}^2}`": lambda x: f"{_STEPS}So $\\boxed{{{x} \\text{{ cm}}^2}}$.",
    "`X square feet`": lambda x: f"{_STEPS}The answer is {x} square feet.",
    "`X miles per hour`": lambda x: f"{_STEPS}The answer is {x} miles per hour.",
    "`X km/h`": lambda x: f"{_STEPS}The answer is {x} km/h.",
    r"`\text{X}`": lambda x: f"{_STEPS}So $\\boxed{{\\text{{{x}}}}}$.",
    r"`\mathbf{X}`": lambda x: f"{_STEPS}The answer is $\\mathbf{{{x}}}$.",
    "approximately X": lambda x: f"{_STEPS}The answer is approximately {x}.",
    "X, thousands by commas": lambda x: f"{_STEPS}The answer is {_grouped(x, ',')}.",
    r"X, thousands by `{,}`": lambda x: f"{_STEPS}So $\\boxed{{{_grouped(x, '{,}')}}}$.",
    r"X, thousands by `\,`": lambda x: f"{_STEPS}The answer is ${_grouped(x, chr(92) + ',')}$.",
    "X, thousands by thin spaces": lambda x: f"{_STEPS}The answer is {_grouped(x, chr(0x2009))}.",
    "X, thousands by narrow spaces that do not break": lambda x: f"{_STEPS}Answer: {_grouped(x, chr(0x202F))}",
    "X in full-width digits": lambda x: f"答案是{x.translate({ord(d): ord(d) + 0xFEE0 for d in '0123456789'})}。",
    "`X个苹果`": lambda x: f"答案是{x}个苹果。",
    "`#### $X`": lambda x: f"{_STEPS}#### ${x}",
    "`#### X apples`": lambda x: f"{_STEPS}#### {x} apples",
    "`#### 1. Add` before, `#### X`": lambda x: f"#### 1. Add\n{_STEPS}#### {x}",
    "X in the last sentence": lambda x: f"{_STEPS}So Tom has {x} apples left.",
    '`{"answer": X}`': lambda x: json.dumps({"unit": "apples", "answer": _json_number(x)}),
}  # fmt: skip
"""Forms for numbers: units, currencies, separators."""
