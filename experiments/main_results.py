"""What does each strategy gain on its task? Strategies × tasks, beside random experts (the paper's Table 1).

python -m experiments.main_results --jobs 2 --allow-code-execution
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.comparison import RunResult
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference, judge_equality
from experiments import training
from experiments.charts import bars
from experiments.choice import Choice
from experiments.outcomes import NOTHING, TASK, Outcomes, cell, interval_cell, number, whole_mean
from experiments.paper_numbers import TABLE_1
from experiments.training_settings import VANILLA

NAME = "main_results"
ESFT = ("ESFT-Token", "ESFT-Gate")
MARGIN = 3.0
"""Points within which two scores count as equal; the paper's Table 1 has ESFT 0.8 and 1.6 below full fine-tuning."""


def score_table(outcomes: Outcomes) -> ResultTable:
    """Task scores, ours and the paper's."""
    rows, groups = [], {0: "embedded benchmark"}
    for label in outcomes.rows:
        scores = [outcomes.spread(TASK, label, task) for task in outcomes.tasks]
        rows.append([label, *map(cell, [*scores, outcomes.mean_spread(TASK, label)])])
    groups[len(rows)] = "the paper, DeepSeek-V2-Lite"
    for label, scores in TABLE_1.items():
        known = [scores.get(task) for task in outcomes.tasks]
        rows.append([label, *map(number, [*known, whole_mean(known)])])
    caption = (
        "task scores 0–100; ± standard deviation over seeds; the base has no seed; the paper's mean is here that of "
        "the tasks, in the paper that of eight benchmarks"
    )
    return ResultTable(NAME, caption, ("strategy", *outcomes.tasks, "mean"), rows, groups)


def difference_table(outcomes: Outcomes, against: Sequence[str] = ESFT) -> ResultTable:
    """Every row less ESFT's, with paired intervals."""
    rows, groups = [], {}
    for other in against:
        groups[len(rows)] = f"less {other}"
        for label in outcomes.rows:
            if label not in (other, VANILLA):
                cells = [interval_cell(outcomes.difference(TASK, label, other, [task])) for task in outcomes.tasks]
                rows.append([label, *cells, interval_cell(outcomes.difference(TASK, label, other))])
    caption = "points of task score; 95 % bootstrap intervals over the same test rows and over seeds"
    return ResultTable(f"{NAME}_differences", caption, ("strategy", *outcomes.tasks, "mean"), rows, groups)


def convergence_table(outcomes: Outcomes) -> ResultTable | None:
    """After how many steps the kept weights stood, and which runs had not converged; None where all make the same."""
    if not any(run.spec.validate_every for run in outcomes.runs):
        return None
    rows = []
    for label in outcomes.labels:
        runs = {task: outcomes.of(label, task) for task in outcomes.tasks}
        kept = [_steps_cell(runs[task]) for task in outcomes.tasks]
        stopped = [run.converged for found in runs.values() for run in found]
        rows.append([label, *kept, f"{sum(stopped)} of {len(stopped)}"])
    caption = (
        f"optimizer steps of the weights with {Choice.of(outcomes.runs).best}, mean over seeds; + some seed was still "
        "falling at the last step; converged: runs that ended because the loss no longer fell"
    )
    return ResultTable(f"{NAME}_steps", caption, ("strategy", *outcomes.tasks, "converged"), rows)


def _steps_cell(runs: Sequence[RunResult]) -> str:
    steps = [run.kept_validation[0] for run in runs if run.kept_validation]
    if not steps:
        return NOTHING
    return f"{sum(steps) / len(steps):.0f}" + ("" if all(run.converged for run in runs) else " +")


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT is as good as full fine-tuning, and better than LoRA."""
    claims = []
    for label in ESFT:
        equal = outcomes.difference(TASK, label, "FFT")
        claims.append(
            Claim(
                "ESFT is as good as full fine-tuning on the task",
                "Table 1",
                judge_equality(equal, margin=MARGIN),
                f"{label} − FFT, task score, points, mean over tasks",
                equal,
                f"interval within ±{MARGIN:g} points",
            )
        )
        better = outcomes.difference(TASK, label, "LoRA")
        claims.append(
            Claim(
                "ESFT is better than LoRA on the task",
                "Table 1",
                judge_difference(better),
                f"{label} − LoRA, task score, points, mean over tasks",
                better,
                "interval above 0",
            )
        )
    return claims


def _length(outcomes: Outcomes) -> str:
    """How long the runs train, in words."""
    spec = next((run.spec for run in outcomes.runs if not run.spec.is_base), None)
    if spec is None or not spec.validate_every:
        return "all equally long"
    kept = f"for at most {spec.steps:,} steps, and is asked with the weights of {Choice.of(outcomes.runs).best}"
    if not spec.patience:
        return kept
    return (
        f"to convergence: until {spec.patience} validations in a row, {spec.validate_every} steps apart, bring no loss "
        f"lower by {spec.min_delta:g} nats; {kept} (the paper makes at most 500 steps)"
    )


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Scores, differences and claims."""
    text = (
        "Every strategy trains the same batches in the same order, at the rate that the search below found for it, "
        f"{_length(outcomes)}. Random experts, as many per layer as ESFT selects, are the control: what they reach is "
        "not owed to the choice of experts. The paper's numbers are those with general data mixed in, on real tasks of "
        "the same names; they show the order of strategies, not scores that ours could equal."
    )
    steps = convergence_table(outcomes)
    figure = bars(outcomes, TASK, list(outcomes.rows), "task score")
    return Section(
        NAME,
        "What does each strategy gain on its task?",
        "Table 1",
        text,
        command,
        training.provenance(outcomes),
        [score_table(outcomes), difference_table(outcomes), *([steps] if steps else [])],
        [Figure(NAME, figure, "Task score of every strategy; whiskers: deviation over seeds")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
