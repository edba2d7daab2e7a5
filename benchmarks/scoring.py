"""`python -m benchmarks.scoring`: hold the scorers to published answers in many forms, and write docs/scoring.md.

The data is that of ../shared/data or `--data`: MATH-500 and GSM8K, HumanEval and MBPP. The generated tables stand
between marks in the page; what is around them is written by hand.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import code_forms, math_forms
from esft_lightning.command_parser import CommandParser
from esft_lightning.scoring.sandbox import Limits, run_jobs
from esft_lightning.storage import atomic_write
from esft_lightning.tasks.code_score import code_sample, make_job
from esft_lightning.tasks.math_score import score_math

PAGE = Path("docs/scoring.md")
DATA = Path("../shared/data")
PAIRS = 2000
SAMPLED = 5
"""math-verify by itself takes long: it is shown each fifth answer."""
LIMITS = Limits(wall_seconds=120, cpu_seconds=30)
"""Wide enough for every published solution, so that no table depends on the machine."""
EQUAL = Path(__file__).with_name("equal_answers.json")
"""Pairs of different published answers that count as equal, with the reason."""


def math_answers(data: Path) -> dict[str, list[str]]:
    """The different reference answers of MATH-500 and of GSM8K's test rows.

    Args:
        data: The folder that holds `math/`.
    """
    math500 = [row["answer"] for row in _rows(data / "math/math500.jsonl")]
    gsm8k = [row["answer"].rpartition("####")[2].strip() for row in _rows(data / "math/gsm8k_test.jsonl")]
    return {"MATH-500": list(dict.fromkeys(math500)), "GSM8K": list(dict.fromkeys(gsm8k))}


def solved_problems(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of HumanEval and of MBPP's release in its form, but for two of MBPP's whose solutions are no Python.

    Args:
        data: The folder that holds `code/`.
    """
    files = {"HumanEval": "code/HumanEval.jsonl.gz", "MBPP": "code/mbpp_release_v1.jsonl"}
    return {
        name: [row for row in _rows(data / file) if code_forms.defined(_solved(row).program, row["entry_point"])]
        for name, file in files.items()
    }


def different_pairs(answers: Sequence[str], count: int = PAIRS, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """Seeded draws of `(prediction, answer that it states, another answer)`, each in a form drawn with it."""
    draw = random.Random(seed)
    for _ in range(count):
        stated, other = draw.sample(list(answers), 2)
        forms = [*math_forms.FORMS.values()]
        forms += math_forms.NUMBER_FORMS.values() if math_forms.is_plain_number(stated) else []
        yield draw.choice(forms)(stated), stated, other


def equal_answers() -> set[frozenset[str]]:
    """The pairs of `equal_answers.json`."""
    return {frozenset(pair["answers"]) for pair in json.loads(EQUAL.read_text(encoding="utf-8"))}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _by_math_verify(prediction: str, reference: str) -> bool:
    """math-verify alone: its own extraction from the whole solution, and its comparison."""
    from math_verify import parse, verify

    try:
        return verify(
            parse(f"${reference}$", parsing_timeout=2), parse(prediction, parsing_timeout=2), timeout_seconds=2
        )  # type: ignore[arg-type]
    except Exception:  # what it cannot read it has not right
        return False


def math_table(data: Path) -> str:
    """Every form of `math_forms` with the share of answers that are right in it."""
    answers = math_answers(data)
    everything = list(dict.fromkeys(answer for some in answers.values() for answer in some))
    numbers = [answer for answer in everything if math_forms.is_plain_number(answer)]
    lines = [f"| form | MATH-500 | GSM8K | math-verify alone, of each {SAMPLED}th |", "|---|---:|---:|---:|"]
    for forms, plain in ((math_forms.FORMS, False), (math_forms.NUMBER_FORMS, True)):
        for name, form in forms.items():
            groups = [[a for a in some if not plain or math_forms.is_plain_number(a)] for some in answers.values()]
            ours = [
                _share(group, lambda x, form=form: score_math(form(x), {"raw_answers": [x]}) == 1.0) for group in groups
            ]
            theirs = _share(
                (numbers if plain else everything)[::SAMPLED], lambda x, form=form: _by_math_verify(form(x), x)
            )
            lines.append(f"| {_cell(name)} | {ours[0]} | {ours[1]} | {theirs} |")
            print(lines[-1], flush=True)
    known, wrong = equal_answers(), []
    for prediction, stated, other in different_pairs(everything):
        if score_math(prediction, {"raw_answers": [other]}) and frozenset((stated, other)) not in known:
            wrong.append((stated, other))
    lines += [
        "",
        f"Of {PAIRS:,} seeded pairs of different answers, {len(wrong)} counted as right that are not in the list.",
    ]
    return "\n".join(lines)


def _share(answers: Sequence[str], right: Callable[[str], bool]) -> str:
    return f"{100 * sum(map(right, answers)) / len(answers):.1f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code_table(data: Path) -> str:
    """Every form of `code_forms` with the published solutions that pass in it; each different program is run once."""
    lines = ["| form | HumanEval | MBPP |", "|---|---:|---:|"]
    columns: list[list[int]] = []
    for name, rows in solved_problems(data).items():
        verdicts: dict[tuple[int, str], bool] = {}
        passed = []
        for form, make in code_forms.FORMS.items():
            jobs = {number: make_job(make(_solved(row)), code_sample(row)) for number, row in enumerate(rows)}
            new = {number: job for number, job in jobs.items() if (number, job.code) not in verdicts}
            for (number, job), verdict in zip(new.items(), run_jobs(list(new.values()), LIMITS), strict=True):
                verdicts[number, job.code] = verdict.passed
            passed.append(sum(verdicts[number, job.code] for number, job in jobs.items()))
            print(f"{name}: {form}: {passed[-1]} of {len(rows)}, {len(new)} new programs", flush=True)
        columns.append(passed)
        lines[0] = lines[0].replace(f" {name} ", f" {name}, of {len(rows)} ")
    lines += [
        f"| {_cell(form)} | {humaneval} | {mbpp} |"
        for form, humaneval, mbpp in zip(code_forms.FORMS, *columns, strict=True)
    ]
    return "\n".join(lines)


def _solved(row: Mapping[str, Any]) -> code_forms.Solved:
    return code_forms.Solved(row["prompt"], row["canonical_solution"], row["entry_point"])


def equal_table() -> str:
    """The pairs that count as equal, by reason."""
    reasons: dict[str, list[str]] = {}
    for pair in json.loads(EQUAL.read_text(encoding="utf-8")):
        reasons.setdefault(pair["why"], []).append(" = ".join(f"`{answer}`" for answer in pair["answers"]))
    return "\n".join(
        ["| why | pairs |", "|---|---|", *(f"| {why} | {', '.join(pairs)} |" for why, pairs in reasons.items())]
    )


TABLES: dict[str, Callable[[Path], str]] = {"math": math_table, "code": code_table, "equal": lambda _: equal_table()}


def replaced(page: str, name: str, table: str) -> str:
    """The page with a generated table in the place of the one that it has.

    Raises:
        ValueError: The page has no place for it.
    """
    begin, end = f"<!-- {name}: python -m benchmarks.scoring -->", "<!-- end -->"
    if begin not in page:
        raise ValueError(f"the page has no line {begin!r}")
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", page, flags=re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the page.

    Args:
        arguments: Without the program's name; by default the process's own.

    Returns:
        0; 2 where the data is absent.
    """
    parser = CommandParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds math/ and code/ (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES), help="which tables")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        print(f"benchmarks.scoring: {options.data} is no folder; give --data", file=sys.stderr)
        return 2
    for name in options.only:
        table = TABLES[name](options.data)
        page = replaced(options.page.read_text(encoding="utf-8"), name, table)
        atomic_write(options.page, page.encode())
    print(f"written: {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
