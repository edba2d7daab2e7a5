"""The judge of the verb `score`: from its options to a grade for every completion."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tqdm import tqdm

from esft_lightning.scoring.completions import Completion
from esft_lightning.scoring.judge.answers import AnswerCache
from esft_lightning.scoring.judge.client import JudgeClient, JudgeError
from esft_lightning.scoring.judge.grading import Judge
from esft_lightning.scoring.judge.rubric import RUBRICS, load_rubric
from esft_lightning.scoring.judge.spending import SpendingLimit
from esft_lightning.scoring.row_texts import references

__all__ = ["graded"]


def graded(args: argparse.Namespace, completions: Sequence[Completion]) -> list[float]:
    """Every completion's grade, in [0, 1]; says what it took.

    Args:
        args: The verb's options.
        completions: What to grade; the first reference of each is the judge's.

    Raises:
        ValueError: Options that cannot be, or completions that have no grade in the end; those that have one are kept.
    """
    judge = Judge(
        JudgeClient(args.judge_url, retries=args.judge_retries, timeout=args.judge_timeout),
        args.judge_model,
        load_rubric(args.judge_rubric or RUBRICS / f"{args.task}.yaml"),
        AnswerCache(args.judge_cache),
        SpendingLimit(args.judge_token_limit),
        concurrency=args.judge_concurrency,
    )
    triples = [
        (str(entry.row.get("prompt", "")), references(entry.row)[0], entry.prediction.strip()) for entry in completions
    ]
    with tqdm(total=len(triples), desc="judge", disable=None) as bar:
        grades = judge.grade(triples, lambda: bar.update())
    print(
        f"judge {args.judge_model}: {grades.asked} requests, {grades.tokens:,} tokens; {grades.remembered} completions "
        f"were graded before; {grades.unparsable} got no grade and score 0"
    )
    scores = [score for score in grades.scores if score is not None]
    if grades.missing:
        raise JudgeError(
            f"{grades.missing} of {len(triples)} completions could not be graded: {'; '.join(grades.failures)}. The "
            f"others are kept in {args.judge_cache}: the same command asks for the rest alone"
        )
    return scores
