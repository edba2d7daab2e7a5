"""What is left of math and code after training on another task? The paper's Table 8.

    python -m experiments.cross_task_forgetting --jobs 2 --allow-code-execution

The runs are those of `main_results` on the adaptation tasks, asked about the enhancement tasks besides their own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from esft_lightning.comparison.result import ALSO
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.charts import bars
from experiments.main_results import ESFT
from experiments.outcomes import OTHER_TASKS, Measure, Outcomes, cell, interval_cell, number, whole_mean
from experiments.paper_numbers import TABLE_8
from experiments.training_settings import VANILLA

NAME = "cross_task_forgetting"


def asked(outcomes: Outcomes) -> list[Measure]:
    """A measure for each task that was asked besides the one that was trained."""
    names = dict.fromkeys(name for run in outcomes.runs for name in OTHER_TASKS.tests(run))
    return [Measure.of_test(name, name.removeprefix(ALSO)) for name in names]


def forgetting_table(outcomes: Outcomes) -> ResultTable:
    """Row × asked task, mean over the tasks that were trained on."""
    measures = [*asked(outcomes), Measure("mean", OTHER_TASKS.belongs)]
    rows = []
    for label in outcomes.rows:
        ours = [cell(outcomes.mean_spread(measure, label)) for measure in measures]
        lost = interval_cell(None if label == VANILLA else outcomes.difference(OTHER_TASKS, label, VANILLA))
        paper = TABLE_8.get(label, {})
        known = [paper.get(measure.name) for measure in measures[:-1]]
        rows.append([label, *ours, lost, *map(number, [*known, whole_mean(known)])])
    names = [measure.name for measure in measures]
    columns = ("strategy", *names, "less base", *(f"paper: {name}" for name in names))
    caption = (
        f"task scores 0–100 after training on {', '.join(outcomes.tasks)}, mean over these; ± standard deviation over "
        "seeds; 95 % bootstrap intervals over test rows and seeds"
    )
    return ResultTable(NAME, caption, columns, rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT keeps the enhancement tasks better than full fine-tuning and LoRA."""
    claims = []
    for label in ESFT:
        for other, name in (("FFT", "full fine-tuning"), ("LoRA", "LoRA")):
            kept = outcomes.difference(OTHER_TASKS, label, other)
            claims.append(
                Claim(
                    f"Trained on another task, ESFT keeps math and code better than {name}",
                    "Table 8",
                    judge_difference(kept),
                    f"{label} − {other}, math and code, points, mean over training tasks",
                    kept,
                    "interval above 0",
                )
            )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Scores and claims."""
    text = (
        "Models that were trained on an adaptation task answer the test rows of math and code. The base knows these "
        "tasks a little, from pretraining; what is below its scores has been forgotten."
    )
    figure = bars(outcomes, OTHER_TASKS, list(outcomes.rows), "math and code, trained on")
    return Section(
        NAME,
        "What is left of math and code?",
        "Table 8",
        text,
        command,
        training.provenance(outcomes),
        [forgetting_table(outcomes)],
        [Figure(NAME, figure, "Mean of math and code after training on each adaptation task")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
