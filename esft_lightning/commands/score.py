"""The verb `score`: completions of any model → the task's scores, without the model. Never imports torch."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esft_lightning.data.rows import DataError
from esft_lightning.errors import SettingError
from esft_lightning.scoring.completions import Completion, read_completions
from esft_lightning.scoring.row_texts import references
from esft_lightning.scoring.sandbox import Verdict, missing_packages, walls_to_do_without
from esft_lightning.scoring.text_overlap import METRICS, corpus_score
from esft_lightning.storage import atomic_write
from esft_lightning.tasks import TASKS

DESCRIPTION = "Score completions (JSON lines) by a task's metric; no model is needed."
EPILOG = """\
A line holds the answer (raw_prediction, prediction or completion) and the references (raw_answers); the authors' files
and those of `predict` are taken as they are. Lines that carry a `score` of another judge are compared with it.

  python -m esft_lightning score --task intent --completions predictions.jsonl
  python -m esft_lightning score --task law --completions law.jsonl --metrics chrf bleu rouge_l --report law.json
  python -m esft_lightning score --task code --completions samples.jsonl --pass-at 1 10 --allow-code-execution
  ESFT_JUDGE_API_KEY=… python -m esft_lightning score --task law --completions law.jsonl \\
      --judge-url https://api.openai.com/v1 --judge-model gpt-4.1
"""
_FREE_TEXT = ("summary", "law", "translation")
_OWN = "task"  # the task's own rule
_JUDGE = "judge"
_RESAMPLES = 1000
_DRAWN_AT_ONCE = 2**20  # rows of all resamplings that are in memory together


@dataclass(frozen=True)
class Measured:
    """What one metric says of all completions.

    Attributes:
        metric: Its name.
        mean: Mean over rows, in [0, 1], with the ends of its 95 % bootstrap interval.
        corpus: The metric of the whole corpus where there is such a thing.
        spearman: Rank correlation with the recorded scores, with its interval; None without them.
        equal: Rows whose score equals the recorded one; None without them.
    """

    metric: str
    mean: tuple[float, float, float]
    corpus: float | None = None
    spearman: tuple[float, float, float] | None = None
    equal: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--task", required=True, choices=TASKS, help="whose rule")
    parser.add_argument("--completions", required=True, nargs="+", metavar="FILE", help="JSONL files or globs, or .gz")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=(_OWN, *METRICS),
        help="task: the task's own rule (default); for summary, law and translation also chrf, bleu, rouge_l",
    )
    parser.add_argument(
        "--pass-at", nargs="+", type=int, metavar="K", default=[1], help="code: k of pass@k (default 1)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write every row's scores (code: with the reason) as JSON lines"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table as JSON")
    parser.add_argument(
        "--allow-code-execution",
        action="store_true",
        help="code: run what the model wrote, in separate processes with time, memory and file limits",
    )
    parser.add_argument(
        "--allow-weaker-sandbox",
        action="store_true",
        help="code: run it also where the system does not let every wall around it be put up",
    )
    judge = parser.add_argument_group(
        "judge",
        "summary, law and translation, also graded by a language model; the key is read from ESFT_JUDGE_API_KEY",
    )
    judge.add_argument("--judge-url", metavar="URL", help="an OpenAI-compatible endpoint, such as https://…/v1")
    judge.add_argument("--judge-model", metavar="NAME", help="the model's name there")
    judge.add_argument("--judge-rubric", type=Path, metavar="FILE", help="another rubric (YAML) than the task's own")
    judge.add_argument(
        "--judge-concurrency", type=positive, default=4, metavar="N", help="requests at the same time (default 4)"
    )
    judge.add_argument(
        "--judge-token-limit",
        type=positive,
        default=1_000_000,
        metavar="N",
        help="the most that may be spent, requests and answers together (default 1,000,000)",
    )
    judge.add_argument(
        "--judge-cache",
        type=Path,
        default=Path("runs/.cache/judge"),
        metavar="DIR",
        help="where answers are kept; nothing there is asked again (default: %(default)s)",
    )
    judge.add_argument(
        "--judge-retries", type=int, default=6, metavar="N", help="further attempts after a failed one (default 6)"
    )
    judge.add_argument(
        "--judge-timeout", type=float, default=60.0, metavar="S", help="seconds of an attempt (default 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out `score`.

    Raises:
        UserError: For options that cannot be, and rows that cannot be scored.
    """
    names = _metric_names(args)
    if args.task == "code" and not args.allow_code_execution:
        raise SettingError("scoring code runs what the model wrote; say --allow-code-execution to allow it")
    completions = read_completions(args.completions, code=args.task == "code")
    lacking = {"missing_walls": walls_to_do_without(args.allow_weaker_sandbox)} if args.task == "code" else {}
    reasons: list[str] = []
    scores = {name: _scores(args, name, completions, reasons) for name in names}
    if args.judge_url:
        from esft_lightning.scoring.judge.score_options import graded

        scores[_JUDGE] = graded(args, completions)
    measured = [_measured(name, values, completions) for name, values in scores.items()]
    passed = _pass_rates(args.pass_at, completions, scores[_OWN]) if args.task == "code" else {}
    _write(args, completions, scores, measured, {**passed, **lacking}, reasons)
    _show(args.task, completions, measured, passed)
    if missing := missing_packages(reasons):
        print(f"score: {missing}", file=sys.stderr)
    return 0


def positive(text: str) -> int:
    """A whole number above 0, as an option's type.

    Raises:
        argparse.ArgumentTypeError: It is not.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _metric_names(args: argparse.Namespace) -> list[str]:
    names = list(dict.fromkeys(args.metrics or [_OWN]))
    if args.task not in _FREE_TEXT and names != [_OWN]:
        raise SettingError(
            f"--metrics: {args.task} has one rule; chrf, bleu and rouge_l are for {', '.join(_FREE_TEXT)}"
        )
    if args.judge_url and args.task not in _FREE_TEXT:
        raise SettingError(f"--judge-url: {args.task} has a rule of its own; a judge is for {', '.join(_FREE_TEXT)}")
    if bool(args.judge_url) != bool(args.judge_model):
        raise SettingError("--judge-url and --judge-model belong together: where to ask, and which model")
    return names


def _scores(args: argparse.Namespace, name: str, completions: Sequence[Completion], reasons: list[str]) -> list[float]:
    """Every row's score by one metric, behind a progress bar; `reasons` gets those of code's verdicts."""
    from tqdm import tqdm

    if args.task == "code":
        from esft_lightning.tasks.code_score import code_sample, score_code_batch

        with tqdm(total=len(completions), desc="running", disable=None) as bar:

            def count(verdict: Verdict) -> None:
                reasons.append(verdict.reason)
                bar.update()

            return score_code_batch(
                [completion.prediction for completion in completions],
                [{**code_sample(completion.row), "origin": completion.origin} for completion in completions],
                allow_code_execution=True,
                on_done=count,
            )
    from esft_lightning.tasks import scorer

    rule = scorer(args.task)
    options = {} if name == _OWN else {"metric": name}
    scores = []
    for completion in tqdm(completions, desc=name, disable=None):
        try:
            scores.append(float(rule(completion.prediction, completion.row, **options)))
        except DataError as error:
            raise DataError(f"{completion.origin}: {error}") from error
    return scores


def _measured(name: str, values: list[float], completions: Sequence[Completion]) -> Measured:
    from esft_lightning.publication.bootstrap import mean_interval

    interval = mean_interval(values, resamples=_RESAMPLES)
    mean = (interval.mean, interval.low, interval.high)
    corpus = None
    if name in METRICS:
        predictions = [completion.prediction.strip() for completion in completions]
        corpus = corpus_score(name, predictions, [references(completion.row) for completion in completions])
    recorded = [completion.recorded for completion in completions if completion.recorded is not None]
    if len(recorded) < len(completions):
        return Measured(name, mean, corpus)
    equal = sum(abs(ours - theirs) < 1e-9 for ours, theirs in zip(values, recorded, strict=True))
    return Measured(name, mean, corpus, rank_correlation(values, recorded), equal)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float] | None:
    """Spearman's rank correlation with its 95 % bootstrap interval over rows; None where a side is constant."""
    import numpy as np

    pairs = np.array([first, second], dtype=float)
    if (pairs.min(1) == pairs.max(1)).any():
        return None
    count, rng, resampled = pairs.shape[1], np.random.default_rng(0), []
    at_once = max(1, _DRAWN_AT_ONCE // count)
    for start in range(0, _RESAMPLES, at_once):
        drawn = rng.integers(0, count, (min(at_once, _RESAMPLES - start), count))
        resampled.append(_spearman(pairs, drawn))
    low, high = np.nanpercentile(np.concatenate(resampled), [2.5, 97.5])
    return float(_spearman(pairs, np.arange(count)[None])[0]), float(low), float(high)


def _spearman(pairs: Any, drawn: Any) -> Any:
    """Rank correlations [B] of the two rows of `pairs` [2, N], each over the columns of one row of `drawn` [B, N].

    NaN where a side is constant. scipy's takes a second to import.
    """
    import numpy as np

    first, second = (average_ranks(side, drawn) - (drawn.shape[1] + 1) / 2 for side in pairs)
    product, squares = (first * second).sum(1), (first**2).sum(1) * (second**2).sum(1)
    return np.divide(product, np.sqrt(squares), out=np.full(len(drawn), np.nan), where=squares > 0)


def average_ranks(values: Any, drawn: Any) -> Any:
    """Ranks of `values[drawn]` within each row, [B, N], from 1 on; equal values share the mean of their ranks.

    Args:
        values: The values drawn from, [N].
        drawn: Which of them, integer [B, N].
    """
    import numpy as np

    distinct, place = np.unique(values, return_inverse=True)
    place = place[drawn]
    shape = len(drawn), len(distinct)
    counts = np.bincount((place + np.arange(shape[0])[:, None] * shape[1]).ravel(), minlength=shape[0] * shape[1])
    counts = counts.reshape(shape)
    return np.take_along_axis(counts.cumsum(1) - (counts - 1) / 2, place, 1)


def _pass_rates(ks: Sequence[int], completions: Sequence[Completion], scores: Sequence[float]) -> dict[str, float]:
    """pass@k over problems.

    Raises:
        ValueError: A problem with fewer answers than k.
    """
    from esft_lightning.scoring.pass_at_k import pass_at_k

    problems: dict[str, list[float]] = {}
    for completion, score in zip(completions, scores, strict=True):
        problems.setdefault(completion.problem, []).append(score)
    return {
        f"pass@{k}": statistics.fmean(pass_at_k(len(found), round(sum(found)), k) for found in problems.values())
        for k in ks
    }


def _write(
    args: argparse.Namespace,
    completions: Sequence[Completion],
    scores: dict[str, list[float]],
    measured: Sequence[Measured],
    facts: dict[str, Any],
    reasons: Sequence[str],
) -> None:
    if args.output:
        lines = [
            json.dumps(
                {"origin": completion.origin, **{name: values[row] for name, values in scores.items()}}
                | ({} if completion.recorded is None else {"recorded": completion.recorded})
                | ({"reason": reasons[row]} if reasons else {}),
                ensure_ascii=False,
            )
            for row, completion in enumerate(completions)
        ]
        atomic_write(args.output, ("\n".join(lines) + "\n").encode())
    if args.report:
        report: dict[str, Any] = {"task": args.task, "files": args.completions, "rows": len(completions)}
        report |= {"metrics": [asdict(entry) for entry in measured], **facts}
        atomic_write(args.report, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())


def _show(task: str, completions: Sequence[Completion], measured: Sequence[Measured], passed: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    recorded = [completion.recorded for completion in completions if completion.recorded is not None]
    compared = len(recorded) == len(completions)
    table = Table(title=f"{task}: {len(completions)} completions, scores 0–100 [95 % interval]")
    table.add_column("metric")
    headings = ["mean", "corpus", *(["Spearman with the recorded score", "equal to it"] if compared else [])]
    for heading in headings:
        table.add_column(heading, justify="right")
    for entry in measured:
        cells = [_interval(entry.mean, 100, 1), "–" if entry.corpus is None else f"{100 * entry.corpus:.1f}"]
        if compared:
            cells += [_interval(entry.spearman, 1, 3), f"{entry.equal} of {len(completions)}"]
        table.add_row(entry.metric, *cells)
    for name, rate in passed.items():
        table.add_row(name, f"{100 * rate:.1f}", *["–"] * (len(headings) - 1))
    if compared:
        table.add_row("recorded", f"{100 * statistics.fmean(recorded):.1f}", *["–"] * (len(headings) - 1))
    Console().print(table)


def _interval(values: tuple[float, float, float] | None, factor: float, digits: int) -> str:
    if values is None:
        return "–"
    mean, low, high = (f"{factor * value:.{digits}f}" for value in values)
    return f"{mean} [{low}, {high}]"
