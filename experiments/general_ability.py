"""What does each strategy forget? General ability after training on a task (the paper's Tables 2 and 10).

    python -m experiments.general_ability --jobs 2 --allow-code-execution

The runs are those of `main_results`. A row's number is the mean over training tasks, ± its deviation over them.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence

from esft_lightning.comparison import RunResult
from esft_lightning.comparison.result import GENERAL, GENERAL_LOSS
from esft_lightning.comparison.summary import Spread
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference
from experiments import training
from experiments.charts import bars
from experiments.main_results import ESFT
from experiments.outcomes import ABILITY, Measure, Outcomes, cell, interval_cell, number
from experiments.paper_numbers import TABLE_2, TABLE_10
from experiments.training_settings import VANILLA

NAME = "general_ability"


def probes_of(outcomes: Outcomes) -> list[str]:
    """The probes that any run has."""
    return list(dict.fromkeys(name for run in outcomes.runs for name in ABILITY.tests(run)))


def over_training_tasks(outcomes: Outcomes, label: str, value: Callable[[RunResult], float | None]) -> Spread | None:
    """Mean and deviation over the tasks that were trained on, each the mean of its seeds."""
    means = []
    for task in outcomes.tasks:
        known = [found for run in outcomes.of(label, task) if (found := value(run)) is not None]
        if known:
            means.append(statistics.fmean(known))
    spread = Spread.of(means)
    return spread if label != VANILLA or spread is None else Spread(spread.mean, None, 1)


def probe_table(outcomes: Outcomes) -> ResultTable:
    """Row × probe, the mean, the held-out loss, and the paper's means."""
    probes = probes_of(outcomes)
    rows = []
    for label in outcomes.rows:
        values = [cell(over_training_tasks(outcomes, label, Measure.of_test(probe, probe).of)) for probe in probes]
        loss = over_training_tasks(outcomes, label, lambda run: run.after.get(GENERAL_LOSS))
        mean = cell(over_training_tasks(outcomes, label, ABILITY.of))
        mixed, deviation = TABLE_2.get(label, (None, 0.0))
        paper = [number(mixed) + (f" ± {deviation}" if deviation else ""), number(TABLE_10.get(label))]
        rows.append([label, *values, mean, number(None if loss is None else loss.mean, 2), *paper])
    heads = [probe.removeprefix(GENERAL).replace("_", " ") for probe in probes]
    columns = ("strategy", *heads, "mean", "held-out loss", "paper, mixed", "paper, not mixed")
    caption = (
        "general ability 0–100 after training, mean ± standard deviation over training tasks; loss in nats per "
        "token; held-out text: every text counts the same, where `compare` weighs texts by their tokens; the paper's "
        "means are of seven other benchmarks"
    )
    return ResultTable(NAME, caption, columns, rows)


def difference_table(outcomes: Outcomes) -> ResultTable:
    """What every row lost, and less ESFT's."""
    rows = [
        [
            label,
            interval_cell(outcomes.difference(ABILITY, label, VANILLA)),
            *(interval_cell(None if label == other else outcomes.difference(ABILITY, label, other)) for other in ESFT),
        ]
        for label in outcomes.labels
    ]
    columns = ("strategy", "less base", *(f"less {other}" for other in ESFT))
    caption = "points of general ability, mean over training tasks; 95 % bootstrap intervals over probe rows and seeds"
    return ResultTable(f"{NAME}_differences", caption, columns, rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT forgets less than full fine-tuning and than LoRA."""
    claims = []
    for label in ESFT:
        for other, name in (("FFT", "full fine-tuning"), ("LoRA", "LoRA")):
            kept = outcomes.difference(ABILITY, label, other)
            claims.append(
                Claim(
                    f"ESFT forgets less than {name}",
                    "Table 2",
                    judge_difference(kept),
                    f"{label} − {other}, general ability, points, mean over training tasks",
                    kept,
                    "interval above 0; at each strategy's own rate (the fronts below compare at equal forgetting)",
                )
            )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Probes, differences and claims."""
    mixed = any(run.spec.data.get("general_source") for run in outcomes.runs)
    text = (
        "The models that were trained on a task are asked what the base knew: recall of facts, continuation, "
        "multiple choice, reference, following a format, and held-out text. "
        f"{'General data are mixed in.' if mixed else 'None of the runs mixes general data in.'} "
        "Random experts stand beside ESFT: what they forget less than full fine-tuning is owed to training few "
        "experts, not to which."
    )
    figure = bars(outcomes, ABILITY, list(outcomes.rows), "general ability after training on")
    return Section(
        NAME,
        "What does each strategy forget?",
        "Tables 2 and 10",
        text,
        command,
        training.provenance(outcomes),
        [probe_table(outcomes), difference_table(outcomes)],
        [Figure(NAME, figure, "General ability after training on each task; whiskers: deviation over seeds")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
