"""What can a base do before it is tuned? Task scores at zero, one and four shots beside rote, and general ability.

    python -m experiments.base_scores --base tiny --allow-code-execution

The paper's base scores between 14 and 59 on its tasks. A base that is worth adapting does, few-shot, more than rote and
less than half: on at least five of six tasks the interval of its score lies above the best rote baseline (a constant
answer, a random training answer, the last example's answer) and its mean below 50. Validation rows are asked unless
``--split test``. Every score is kept as it comes, so that a stopped command goes on; ``base_scores.json`` and
``base_scores.md`` lie in the output folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esft_lightning.command_parser import CommandParser
from esft_lightning.errors import UserError
from esft_lightning.publication import Interval, mean_interval
from esft_lightning.storage import atomic_write
from esft_lightning.tasks import TASKS

SHOTS = (0, 1, 4)
HALF, ENOUGH = 50.0, 5
_NEW_TOKENS = 96


@dataclass(frozen=True)
class TaskScores:
    """A base on one task.

    Attributes:
        task: Its name.
        rote: The best rote baseline, 0 to 100.
        shots: Number of shots → score of every row, 0 to 100.
    """

    task: str
    rote: float
    shots: dict[int, list[float]]

    def interval(self, shots: int) -> Interval:
        """Mean over the rows, with its interval."""
        return mean_interval(self.shots[shots])

    @property
    def worth_adapting(self) -> bool:
        """With the most shots: more than rote, less than half."""
        few_shot = self.interval(max(self.shots))
        return few_shot.low > self.rote and few_shot.mean < HALF


def score_task(base: str, task: str, shots: int, rows: int, split: str, execute: bool) -> list[float]:
    """Score of every row, 0 to 100, of a base's greedy answers.

    Args:
        base: `tiny`, a folder, or a hub id.
        task: One of the six.
        shots: Solved training rows before every question.
        rows: Rows to ask.
        split: `validation` or `test`.
        execute: Run the functions that the base writes.
    """
    from esft_lightning.evaluation.generation import generate
    from esft_lightning.tasks import batch_scorer

    data, samples = _asked(base, task, rows, split, few_shot=shots)
    prompts = [sample["prompt"] for sample in samples]
    answers = generate(_model(base), data.tokenizer, prompts, max_new_tokens=_NEW_TOKENS)
    options = {"allow_code_execution": execute} if task == "code" else {}
    return [100 * value for value in batch_scorer(task)(answers, samples, **options)]


def rote_of(base: str, task: str, rows: int, split: str, execute: bool) -> float:
    """The best rote baseline on the same rows, 0 to 100."""
    from esft_lightning.tasks.rote import rote_baselines

    data, samples = _asked(base, task, rows, split)
    rote = rote_baselines(task, data.training_answers, samples, most_constants=500, allow_code_execution=execute)
    return 100 * rote.best


def _asked(base: str, task: str, rows: int, split: str, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A task's DataModule, and the rows of it that are asked."""
    from esft_lightning import tasks

    data = getattr(tasks, f"{task.capitalize()}DataModule")(tokenizer=base, **settings)
    return data, (data.validation_samples if split == "validation" else data.test_samples)[:rows]


_MODELS: dict[str, Any] = {}


def _model(base: str) -> Any:
    from esft_lightning.embedded import is_embedded
    from esft_lightning.moe import load_model

    if base not in _MODELS:
        folder = Path(base).is_dir() or is_embedded(base)
        _MODELS[base] = load_model(base, dtype="float32" if folder else "auto")
    return _MODELS[base]


def abilities(base: str) -> dict[str, Any]:
    """General ability and in-context ability of a base."""
    from esft_lightning.evaluation import general_ability
    from esft_lightning.evaluation.in_context import in_context_ability
    from esft_lightning.moe.loading import load_tokenizer

    model, tokenizer = _model(base), load_tokenizer(base)
    general, context = general_ability(model, tokenizer), in_context_ability(model, tokenizer)
    return {
        "general": {probe: 100 * value for probe, value in general.scores.items()},
        "in_context": context.scores,
        "in_context_gain": context.gain,
    }


def table(scores: Sequence[TaskScores], found: dict[str, Any]) -> str:
    """Everything as Markdown, and whether the base is worth adapting."""
    shots = list(scores[0].shots)
    lines = [
        "| task | best by rote | "
        + " | ".join(f"{count} shots" for count in shots)
        + " | more than rote, below half |",
        "|---|---:|" + "---:|" * len(shots) + "---|",
    ]
    for entry in scores:
        cells = [f"{(at := entry.interval(count)).mean:.1f} ({at.low:.1f}–{at.high:.1f})" for count in shots]
        met = "yes" if entry.worth_adapting else "no"
        lines.append(f"| {entry.task} | {entry.rote:.1f} | {' | '.join(cells)} | {met} |")
    enough = sum(entry.worth_adapting for entry in scores)
    lines += ["", f"{enough} of {len(scores)} tasks meet the goal ({ENOUGH} of {len(TASKS)})."]
    for title, values in (("General ability", found["general"]), ("In context", found["in_context"])):
        lines += ["", f"{title}: {', '.join(f'{name} {value:.1f}' for name, value in values.items())}."]
    return "\n".join([*lines, f"In context beyond rote: {found['in_context_gain']:.1f} points.", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, print and write the table."""
    parser = CommandParser(prog="python -m experiments.base_scores", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", default="tiny", help="the model: tiny, a folder, or a hub id")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="task names")
    parser.add_argument("--shots", nargs="+", type=int, default=list(SHOTS), help="numbers of shots (0 1 4)")
    parser.add_argument("--rows", type=int, default=200, help="rows of a task (default: %(default)s)")
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="which rows are asked")
    parser.add_argument("--allow-code-execution", action="store_true", help="run the functions that the base writes")
    parser.add_argument("--output", type=Path, help="folder (default: runs/base_scores/BASE)")
    options = parser.parse_args(arguments)
    output = options.output or Path("runs/base_scores") / Path(options.base).name
    if "code" in options.tasks and not options.allow_code_execution:
        print(
            "base_scores: code is scored by running it; add --allow-code-execution, or leave code out", file=sys.stderr
        )
        return 2
    try:
        kept = _Kept(output / "base_scores.json", [options.base, options.rows, options.split])
        scores = []
        for task in options.tasks:
            where = (options.rows, options.split, options.allow_code_execution)
            rote = kept.get(f"{task} rote", lambda task=task, where=where: rote_of(options.base, task, *where))
            by_shots = {
                count: kept.get(
                    f"{task} {count}",
                    lambda task=task, count=count, where=where: score_task(options.base, task, count, *where),
                )
                for count in options.shots
            }
            scores.append(TaskScores(task, rote, by_shots))
        text = table(scores, kept.get("abilities", lambda: abilities(options.base)))
    except UserError as error:
        print(f"base_scores: {error}", file=sys.stderr)
        return 2
    atomic_write(output / "base_scores.md", text.encode())
    print(text)
    return 0


class _Kept:
    """Values by name in a JSON file, measured once."""

    def __init__(self, path: Path, of: list[Any]):
        self._path = path
        self._values: dict[str, Any] = {"of": of}
        if path.exists():
            self._values = json.loads(path.read_text(encoding="utf-8"))
            if self._values["of"] != of:
                raise UserError(f"{path}: it holds scores of {self._values['of']}, not of {of}; name another output")

    def get(self, name: str, measure: Any) -> Any:
        if name not in self._values:
            self._values[name] = measure()
            atomic_write(self._path, (json.dumps(self._values, indent=1) + "\n").encode())
        return self._values[name]


if __name__ == "__main__":
    sys.exit(main())
