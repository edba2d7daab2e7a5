"""What does each strategy cost? Time, memory and storage (the paper's Fig. 5).

    python -m experiments.cost

Short runs of their own, always one at a time: runs side by side would share the machine, and time each other.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence

from esft_lightning.comparison import RunResult
from esft_lightning.comparison.table import quantity
from esft_lightning.publication import Claim, Figure, ResultTable, Section, judge_difference, mean_interval
from experiments import training
from experiments.drawing import COLORS, new_figure
from experiments.outcomes import NOTHING, Outcomes, number
from experiments.paper_numbers import COST

NAME = "cost"
MEASURES: tuple[tuple[str, Callable[[RunResult], float]], ...] = (
    ("s/step", lambda run: run.seconds.get("step", 0.0)),
    ("profile and preparation, s", lambda run: run.seconds.get("prepare", 0.0)),
    ("peak memory, MB", lambda run: run.peak_memory_bytes / 1e6),
    ("adapter, MB", lambda run: run.adapter_bytes / 1e6),
)


def cost_table(outcomes: Outcomes) -> ResultTable:
    """Row × cost, and the paper's."""
    rows = []
    for label in outcomes.labels:
        values = [number(outcomes.mean(value, label), 2) for _, value in MEASURES]
        trained = outcomes.mean(lambda run: run.parameters.get("trained", 0), label)
        minutes, gigabytes = COST.get(label, (None, None))
        rows.append(
            [label, NOTHING if trained is None else quantity(trained), *values, number(minutes), number(gigabytes, 2)]
        )
    columns = ("strategy", "trained", *(name for name, _ in MEASURES), "paper: minutes", "paper: GB stored")
    caption = (
        "means over tasks and seeds of short runs, made one at a time; s/step is each run's median; peak memory is "
        "that of the run's whole process until the end of training; the profile is made once for a task and reused"
    )
    return ResultTable(NAME, caption, columns, rows)


def step_ratios(outcomes: Outcomes, label: str, other: str) -> list[float]:
    """Seconds of a step of one row over those of another, for each task and seed that both have."""
    ratios = []
    for task in outcomes.tasks:
        theirs = {run.spec.seed: run.seconds["step"] for run in outcomes.of(other, task) if "step" in run.seconds}
        ratios += [
            run.seconds["step"] / theirs[run.spec.seed]
            for run in outcomes.of(label, task)
            if run.spec.seed in theirs and "step" in run.seconds
        ]
    return ratios


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """ESFT takes less time and storage than full fine-tuning."""
    claims = []
    for label in ("ESFT-Token", "ESFT-Gate"):
        ratios = step_ratios(outcomes, label, "FFT")
        saved = mean_interval([100 * (1 - ratio) for ratio in ratios]) if ratios else None
        claims.append(
            Claim(
                "A step of ESFT takes less time than one of full fine-tuning",
                "Fig. 5",
                judge_difference(saved),
                f"time saved by {label} against FFT, per cent of a step",
                saved,
                "interval over tasks and seeds above 0",
            )
        )
        sizes = [
            100 * (1 - run.adapter_bytes / statistics.fmean(other.adapter_bytes for other in full))
            for task in outcomes.tasks
            if (full := outcomes.of("FFT", task))
            for run in outcomes.of(label, task)
        ]
        smaller = mean_interval(sizes) if sizes else None
        claims.append(
            Claim(
                "ESFT stores less than full fine-tuning",
                "Fig. 5",
                judge_difference(smaller),
                f"bytes saved by {label} against FFT, per cent",
                smaller,
                "interval over tasks and seeds above 0",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Table, bars and claims."""
    figure = new_figure(9.0, 3.2)
    labels = outcomes.labels
    chosen = [entry for entry in MEASURES if entry[0] in ("s/step", "peak memory, MB", "adapter, MB")]
    for axis, (name, value) in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        means = [outcomes.mean(value, label) or 0.0 for label in labels]
        axis.barh(range(len(labels)), means, color=[COLORS[n % len(COLORS)] for n in range(len(labels))])
        axis.set_yticks(range(len(labels)), labels if name == chosen[0][0] else [""] * len(labels), fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(name)
    text = (
        "A few steps of every strategy, with nothing else at work on the machine. Ratios between rows say more than "
        "seconds of this machine."
    )
    return Section(
        NAME,
        "What does each strategy cost?",
        "Fig. 5",
        text,
        command,
        training.provenance(outcomes),
        [cost_table(outcomes)],
        [Figure(NAME, figure, "Seconds of a step, peak memory, and bytes of what is stored")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, print the table, write the section."""
    return training.run(NAME, __doc__, section_of, arguments, one_at_a_time=True)


if __name__ == "__main__":
    sys.exit(main())
