"""What rote earns on a task: the best constant answer, a random training answer, the answer of the last example.

Beside every score: a model that has learned nothing but the form of answers earns as much. No scorer here knows what
rote is; this file plays the three players against any task's rows and scorer. Numbers for the embedded tasks:

    python -m esft_lightning.tasks.rote
"""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esft_lightning.command_parser import CommandParser
from esft_lightning.tasks import TASKS, batch_scorer, scorer

__all__ = ["Rote", "embedded_rote", "rote_baselines"]

_DRAWS = 4
_FINAL = re.compile(r"####\s*(\S+)\s*$")


@dataclass(frozen=True)
class Rote:
    """Mean scores in [0, 1].

    Attributes:
        constant: The best score of one answer given to every row; candidates are all training answers and the
            references themselves.
        constant_answer: That answer.
        random: A training answer drawn for each row, mean of several draws.
        last_shot: The answer of the last example before the question.
    """

    constant: float
    constant_answer: str
    random: float
    last_shot: float

    @property
    def best(self) -> float:
        """The highest of the three."""
        return max(self.constant, self.random, self.last_shot)


def rote_baselines(
    task: str,
    answers: Sequence[str],
    samples: Sequence[Mapping[str, Any]],
    last_shots: Sequence[str] | None = None,
    *,
    seed: int = 0,
    most_constants: int | None = None,
    allow_code_execution: bool = False,
) -> Rote:
    """Score the three baselines.

    Args:
        task: Whose rule.
        answers: Answers of the training rows.
        samples: Evaluation rows, with what the scorer needs.
        last_shots: The answer of the last example before each question; default: a training answer each.
        seed: Of the draws.
        most_constants: At most so many constant answers are tried, drawn by the seed; default: all.
        allow_code_execution: For code, where an answer defines the function that a row asks for, and must be run.

    Returns:
        The scores.

    Raises:
        ValueError: There is no answer or no row.
    """
    if not answers or not samples:
        raise ValueError(f"{task}: {len(answers)} training answers and {len(samples)} rows; rote needs some of each")
    rng = random.Random(f"rote {task} {seed}")
    shots = list(last_shots) if last_shots is not None else rng.choices(answers, k=len(samples))
    drawn = [_mean(task, rng.choices(answers, k=len(samples)), samples, allow_code_execution) for _ in range(_DRAWS)]
    candidates = _candidates(task, [*answers, *(answer for row in samples for answer in row["raw_answers"][:1])])
    if most_constants is not None and len(candidates) > most_constants:
        candidates = rng.sample(candidates, most_constants)
    by_score = ((_mean(task, [text] * len(samples), samples, allow_code_execution), text) for text in candidates)
    constant, constant_answer = max(by_score, key=lambda pair: pair[0])
    return Rote(constant, constant_answer, statistics.fmean(drawn), _mean(task, shots, samples, allow_code_execution))


def _candidates(task: str, answers: Sequence[str]) -> list[str]:
    """The different constant answers; in math only the final number counts, so one for each is enough."""
    if task != "math":
        return list(dict.fromkeys(answers))
    return list({match[1] if (match := _FINAL.search(text)) else text: text for text in answers}.values())


def _mean(task: str, answers: Sequence[str], samples: Sequence[Mapping[str, Any]], execute: bool) -> float:
    if task != "code":
        score = scorer(task)
        return sum(score(answer, row) for answer, row in zip(answers, samples, strict=True)) / len(samples)
    # A function under another name than the row asks for fails all of its tests: only the others are run.
    pairs = [(a, row) for a, row in zip(answers, samples, strict=True) if _defines(a, row["entry_point"])]
    if not pairs:
        return 0.0
    scores = batch_scorer(task)(*zip(*pairs, strict=True), allow_code_execution=execute)
    return sum(scores) / len(samples)


def _defines(code: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", code) is not None


def embedded_rote(task: str, train: int = 4000, test: int = 500, seed: int = 0) -> Rote:
    """The baselines of an embedded task.

    Args:
        task: One of the six.
        train: How many training rows give answers.
        test: How many test rows are scored.
        seed: Seed of the rows.
    """
    from esft_lightning.embedded.rows import task_rows

    answers = [row["messages"][1]["content"] for row in task_rows(task, "train", train, seed)]
    return rote_baselines(task, answers, task_rows(task, "test", test, seed), seed=seed, allow_code_execution=True)


def main() -> None:
    """Command line."""
    parser = CommandParser(
        prog="python -m esft_lightning.tasks.rote", description="What rote earns on the embedded tasks, 0-100."
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--train-rows", type=int, default=4000, help="training rows that give answers")
    parser.add_argument("--test-rows", type=int, default=500, help="test rows that are scored")
    parser.add_argument("--seed", type=int, default=0, help="seed of the rows")
    arguments = parser.parse_args()
    print("| task | best constant answer | random training answer | last example's answer | the constant |")
    print("|---|---:|---:|---:|---|")
    for task in arguments.tasks:
        rote = embedded_rote(task, arguments.train_rows, arguments.test_rows, arguments.seed)
        said = " ".join(rote.constant_answer.split())
        print(
            f"| {task} | {100 * rote.constant:.1f} | {100 * rote.random:.1f} | {100 * rote.last_shot:.1f} | `{said}` |"
        )


if __name__ == "__main__":
    main()
