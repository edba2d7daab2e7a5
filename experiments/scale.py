"""How do the comparisons move with scale? Strategies on the embedded model after less pretraining, and after all.

    python -m experiments.scale --jobs 2

The paper's claims are about a model of 15.7 billion parameters. Where one does not hold on the embedded model, the
question is which way it moves. Shorter pretrained models are made first, by the script that made the embedded one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from filelock import FileLock
from rich.console import Console

from esft_lightning.comparison import RunResult, RunSpec
from esft_lightning.embedded import PRETRAINED, pretraining_steps
from esft_lightning.errors import SettingError
from esft_lightning.publication import (
    Claim,
    Figure,
    Interval,
    ResultTable,
    Section,
    judge_difference,
    stratified_difference,
)
from experiments import training
from experiments.charts import MARKERS
from experiments.drawing import COLORS, new_figure
from experiments.outcomes import ABILITY, TASK, Measure, Outcomes, interval_cell, number, row_set, run_set
from experiments.training_settings import VANILLA

NAME = "scale"
_STEP_SECONDS = 0.8
"""Of a pretraining step on one core, for the announcement."""
DIFFERENCES = (
    ("ESFT-Token", "FFT", TASK),
    ("ESFT-Token", "LoRA", TASK),
    ("ESFT-Token", "random (Token)", TASK),
    ("ESFT-Token", "FFT", ABILITY),
    ("ESFT-Token", "LoRA", ABILITY),
)
"""What is followed over the sizes: first − second, by a score."""
CLAIMS = (
    ("With more pretraining ESFT comes closer to full fine-tuning on the task", DIFFERENCES[0]),
    ("With more pretraining relevant experts gain on random ones", DIFFERENCES[2]),
    ("With more pretraining ESFT keeps more than full fine-tuning does", DIFFERENCES[3]),
)


def make_bases(specs: Sequence[RunSpec], jobs: int, console: Console) -> None:
    """Pretrain the shorter pretrained models that the runs need and that are not there, several at a time.

    A stopped pretraining goes on where it was; of several runners one makes a model and the others wait.

    Args:
        specs: The waiting runs.
        jobs: Processes at the same time, a thread each.
        console: Told what is made.

    Raises:
        ValueError: Pretraining failed; its log is named.
    """
    wanted = {spec.base: steps for spec in specs if (steps := pretraining_steps(spec.base)) is not None}
    waiting = [base for base in wanted if not (PRETRAINED / base / "config.json").is_file()]
    while waiting:
        group, waiting = waiting[:jobs], waiting[jobs:]
        PRETRAINED.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            for base in group:
                held.enter_context(FileLock(PRETRAINED / f"{base}.lock"))
            missing = [base for base in group if not (PRETRAINED / base / "config.json").is_file()]
            _pretrain({base: wanted[base] for base in missing}, console)


def _pretrain(steps: dict[str, int], console: Console) -> None:
    """Run the pretraining script for each model at the same time; a model gets its name when it is whole."""
    started, running = time.perf_counter(), []
    for base, number_of_steps in steps.items():
        folder = PRETRAINED / f"{base}.part"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "esft_lightning.embedded.pretrain", "--steps", str(number_of_steps)]
        minutes = number_of_steps * _STEP_SECONDS / 60
        console.print(
            f"pretraining {base}: {number_of_steps} steps, about {minutes:.0f} minutes; log: {folder / 'log.txt'}",
            soft_wrap=True,
        )
        log = (folder / "log.txt").open("a", encoding="utf-8")
        running.append(
            (base, folder, log, subprocess.Popen([*command, "--output", str(folder)], stdout=log, stderr=log))
        )
    try:
        for base, folder, log, process in running:
            code = process.wait()
            log.close()
            if code:
                raise SettingError(f"pretraining {base} ended with exit code {code}; see {folder / 'log.txt'}")
            (folder / "state.pt").unlink()  # the optimizer's, three times as large as the model
            folder.replace(PRETRAINED / base)
            console.print(f"pretraining {base}: done ({(time.perf_counter() - started) / 60:.1f} min)")
    finally:
        for *_, process in running:
            process.terminate()


def sizes_of(outcomes: Outcomes) -> list[str]:
    """The sizes, in the order of the rows."""
    return list(dict.fromkeys(label.partition(", ")[2] for label in outcomes.labels))


def strategies_of(outcomes: Outcomes) -> list[str]:
    """The strategies, in the order of the rows."""
    return list(dict.fromkeys(label.partition(", ")[0] for label in outcomes.labels))


def base_of(outcomes: Outcomes, size: str, task: str) -> RunResult | None:
    """The base's own run at a size, by way of any run that started from it."""
    for strategy in strategies_of(outcomes):
        for run in outcomes.of(f"{strategy}, {size}", task):
            return outcomes.base_of(run)
    return None


def score(
    outcomes: Outcomes, name: str, size: str, measure: Measure, tasks: Sequence[str] | None = None
) -> float | None:
    """A strategy's score at a size, the base's under its own name; points, mean over tasks; None where one lacks."""
    chosen = tasks or outcomes.tasks
    if name != VANILLA:
        return outcomes.over_tasks(measure, f"{name}, {size}", chosen)
    bases = [base_of(outcomes, size, task) for task in chosen]
    scores = [value for base in bases if base is not None and (value := measure.of(base)) is not None]
    return statistics.fmean(scores) if len(scores) == len(chosen) else None


def at_size(outcomes: Outcomes, kind: tuple[str, str, Measure], size: str) -> Interval | None:
    """A difference at one size, in points, mean over the tasks."""
    first, second, measure = kind
    return outcomes.difference(measure, f"{first}, {size}", f"{second}, {size}")


def moved(outcomes: Outcomes, kind: tuple[str, str, Measure]) -> Interval | None:
    """How much a difference grew from the first size to the last, in points; interval over rows and seeds.

    Rows are resampled together for the four runs of a task and seed.
    """
    sizes = sizes_of(outcomes)
    if len(sizes) < 2:
        return None
    first, second, measure = kind
    pairs, row_sets, run_sets = [], [], []
    for task in outcomes.tasks:
        tests = {
            (name, size): [measure.tests(run) for run in outcomes.of(f"{name}, {size}", task)]
            for name in (first, second)
            for size in (sizes[0], sizes[-1])
        }
        seeds = min(map(len, tests.values()))
        for test in sorted(tests[first, sizes[-1]][0]) if seeds else ():
            if not all(test in found for runs in tests.values() for found in runs):
                continue
            rows = {key: np.array([found[test] for found in runs[:seeds]]) for key, runs in tests.items()}
            if len({array.shape for array in rows.values()}) == 1:
                late, early = (rows[first, size] - rows[second, size] for size in (sizes[-1], sizes[0]))
                pairs.append((late, early))
                row_sets.append(row_set(test, task))
                runs = [run for name in (first, second) for run in outcomes.of(f"{name}, {sizes[-1]}", task)]
                run_sets.append((run_set(runs, task),) * 2)
    return stratified_difference(pairs, row_sets=row_sets, run_sets=run_sets).scaled(100) if pairs else None


def score_table(outcomes: Outcomes) -> ResultTable:
    """Task score and general ability of every strategy at every size."""
    rows, groups = [], {}
    for size in sizes_of(outcomes):
        groups[len(rows)] = size
        for name in (VANILLA, *strategies_of(outcomes)):
            cells = [number(score(outcomes, name, size, TASK, [task])) for task in outcomes.tasks]
            rows.append([name, *cells, *(number(score(outcomes, name, size, kind)) for kind in (TASK, ABILITY))])
    caption = "scores 0–100, by what the base was pretrained on; means over the tasks"
    return ResultTable(NAME, caption, ("strategy", *outcomes.tasks, "task score", "general ability"), rows, groups)


def difference_table(outcomes: Outcomes) -> ResultTable:
    """Every followed difference at every size, and how much it moved."""
    sizes = sizes_of(outcomes)
    rows = [
        [
            f"{kind[0]} − {kind[1]}, {kind[2].name}",
            *(interval_cell(at_size(outcomes, kind, size)) for size in sizes),
            interval_cell(moved(outcomes, kind)),
        ]
        for kind in DIFFERENCES
    ]
    caption = "points, mean over the tasks; 95 % bootstrap intervals over the same rows and over seeds"
    return ResultTable(f"{NAME}_differences", caption, ("", *sizes, "last − first"), rows)


def claims_of(outcomes: Outcomes) -> list[Claim]:
    """What moves with scale in the paper's favour."""
    sizes = sizes_of(outcomes)
    claims = []
    for statement, kind in CLAIMS:
        grown = moved(outcomes, kind)
        claims.append(
            Claim(
                statement,
                "beyond the paper",
                judge_difference(grown),
                f"{kind[0]} − {kind[1]}, {kind[2].name}, points, mean over tasks, {sizes[-1]} − {sizes[0]}",
                grown,
                "interval above 0",
            )
        )
    return claims


def section_of(outcomes: Outcomes, command: str) -> Section:
    """Scores, differences, curves and claims."""
    sizes, strategies = sizes_of(outcomes), strategies_of(outcomes)
    figure = new_figure(10.4, 3.6)
    for axis, measure in zip(figure.subplots(1, 2), (TASK, ABILITY), strict=True):
        for place, name in enumerate((*strategies, VANILLA)):
            points = [
                (at, value)
                for at, size in enumerate(sizes)
                if (value := score(outcomes, name, size, measure)) is not None
            ]
            is_base = name == VANILLA
            axis.plot(
                [at for at, _ in points],
                [value for _, value in points],
                color="0.5" if is_base else COLORS[place % len(COLORS)],
                linestyle=":" if is_base else "-",
                marker=MARKERS[place % len(MARKERS)],
                markersize=5,
                linewidth=1.2,
                label=name if measure is TASK else None,
            )
        axis.set_xticks(range(len(sizes)), sizes)
        axis.set_ylabel(measure.name)
        axis.grid(alpha=0.25)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    text = (
        "The same architecture after a part of its pretraining, with the learning rate brought to zero each time, and "
        "every strategy trained on it for at most 500 steps, at the rates that suit short runs on the last size. A "
        "claim that does not hold here may still move towards the paper's as the base learns more. The smallest base "
        "knows little that could be forgotten."
    )
    return Section(
        NAME,
        "How do the comparisons move with scale?",
        "beyond the paper",
        text,
        command,
        training.provenance(outcomes),
        [score_table(outcomes), difference_table(outcomes)],
        [Figure(NAME, figure, "Task score and general ability against pretraining; means over the tasks")],
        claims_of(outcomes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the bases, train what is missing, print the tables, write the section."""
    return training.run(NAME, __doc__, section_of, arguments, prepare=make_bases)


if __name__ == "__main__":
    sys.exit(main())
