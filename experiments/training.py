"""The life of a training experiment: options, grid, runs, section. What is varied is the YAML's, what is drawn its own.

Runs are known by their hash, so that experiments under one `--output` share them, and a stopped experiment goes on.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from esft_lightning.command_parser import CommandParser
from esft_lightning.comparison import RunResult, RunSpec, load_results, plan_of, run_grid
from esft_lightning.comparison.grid_options import add_grid_options, commands_of, jobs_of, narrowed, positive
from esft_lightning.comparison.run_places import run_key
from esft_lightning.errors import SettingError, UserError, explanation
from esft_lightning.publication import Section
from experiments.outcomes import Outcomes
from experiments.settings import OUTPUTS, PRESETS
from experiments.show import show_section
from experiments.training_settings import TrainingSettings, read_settings

INTERRUPTED = 130


def parser(name: str, document: str | None) -> argparse.ArgumentParser:
    """The options of every training experiment."""
    made = CommandParser(prog=f"python -m experiments.{name}", description=(document or "").split("\n")[0])
    made.add_argument("--preset", choices=PRESETS, default="tiny", help="settings to take (default: %(default)s)")
    made.add_argument("--base", help="another model: tiny, a folder, or a hub id")
    made.add_argument("--tasks", nargs="+", help="other tasks")
    made.add_argument("--seeds", type=positive, metavar="N", help="another number of seeds")
    made.add_argument("--steps", type=positive, metavar="N", help="another number of optimizer steps")
    made.add_argument("--output", type=Path, help=f"folder (default: {', '.join(map(str, OUTPUTS.values()))})")
    add_grid_options(made)
    made.add_argument(
        "--publish-only", action="store_true", help="make the section from the runs that are there, and run nothing"
    )
    return made


def run(
    name: str,
    document: str | None,
    section_of: Callable[[Outcomes, str], Section],
    arguments: Sequence[str] | None,
    prepare: Callable[[Sequence[RunSpec], int, Console], None] | None = None,
    one_at_a_time: bool = False,
) -> int:
    """Make an experiment's runs and its section.

    Args:
        name: The experiment.
        document: Its docstring.
        section_of: Makes its section from the outcomes and the command.
        arguments: Command-line arguments; None takes the process's own.
        prepare: Called with the waiting runs, how many may run at once, and the console, before the first run.
        one_at_a_time: Run nothing side by side, whatever `--jobs` says, for runs that are timed.

    Returns:
        0 when every run has finished, 1 when one has not, 2 for settings that cannot be, 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(name, document).parse_args(given)
    options.output = options.output or OUTPUTS[options.preset]
    console = Console()
    try:
        settings = settings_of(name, options)
        rows = settings.specs()
        specs = narrowed([spec for row in rows.values() for spec in row], options.only)
        if one_at_a_time:
            options.jobs = 1
        jobs, threads = jobs_of(options, settings.base)
        plan = plan_of(specs, options.output, jobs)
        command = ["python", "-m", f"experiments.{name}", *given]
        if options.print_commands:
            print("\n".join(commands_of(plan, command)))
            return 0
        console.print(f"{name}: {plan}", highlight=False, soft_wrap=True)
        if options.plan:
            return 0
        if not options.publish_only:
            check_code_execution(plan.waiting, options)
            if prepare is not None:
                prepare(plan.waiting, jobs, console)
            made = run_grid(
                specs,
                options.output,
                jobs=jobs,
                threads=threads,
                allow_code_execution=options.allow_code_execution,
                console=console,
            )
            if options.only:  # one of many commands; the section is made when all have ended
                return 1 if made.failed else 0
        outcomes = outcomes_of(rows, settings.tasks, load_results(options.output))
        repeated = shlex.join(word for word in command if word != "--publish-only")
        section = with_seeds(section_of(outcomes, repeated), outcomes)
    except (UserError, OSError) as error:
        print(f"error: {explanation(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; finished runs stay in {options.output}: the same command goes on from there")
        return INTERRUPTED
    show_section(section, options.output / name, console)
    if outcomes.missing:
        print(f"{name}: {outcomes.missing} runs have not finished; the tables leave them out", file=sys.stderr)
    return 1 if outcomes.missing and not options.publish_only else 0


def with_seeds(section: Section, outcomes: Outcomes) -> Section:
    """The section, with claims that rest on a single seed saying so."""
    if len(outcomes.seeds) != 1:
        return section
    claims = [replace(claim, test=f"{claim.test}; one seed") for claim in section.claims]
    return replace(section, claims=claims)


def settings_of(name: str, options: argparse.Namespace) -> TrainingSettings:
    """The preset's settings, changed by the options.

    Raises:
        ValueError: Settings that cannot be.
    """
    given = {"base": options.base, "tasks": options.tasks, "seeds": options.seeds, "steps": options.steps}
    return read_settings(name, options.preset, {key: value for key, value in given.items() if value is not None})


def check_code_execution(specs: Sequence[RunSpec], options: argparse.Namespace) -> None:
    """Refuse, before anything runs, a grid that would have to run generated code without leave.

    Raises:
        ValueError: The code task is asked, and `--allow-code-execution` was not given.
    """
    if not options.allow_code_execution and any("code" in (spec.task, *spec.also_test) for spec in specs):
        raise SettingError(
            "the code task is scored by running what the model wrote (in a separate process with time, memory and file "
            "limits); say --allow-code-execution, or choose other --tasks (adaptation tasks are asked about code, too)"
        )


def outcomes_of(rows: Mapping[str, Sequence[RunSpec]], tasks: Sequence[str], results: Sequence[RunResult]) -> Outcomes:
    """Sort results under the rows that asked for them.

    Args:
        rows: Label → specs.
        tasks: Task names.
        results: Results of any grid; others are left out.
    """
    finished = {result.key: result for result in results if result.finished}
    found: dict[str, dict[str, list[RunResult]]] = {}
    missing = set()
    for label, specs in rows.items():
        by_task = found.setdefault(label, {})
        for spec in sorted(specs, key=lambda spec: spec.seed):
            key = run_key(spec)
            if key in finished:
                by_task.setdefault(spec.task, []).append(finished[key])
            else:
                missing.add(key)
    return Outcomes(found, list(tasks), len(missing))


def specs_of(names: Sequence[str], options: argparse.Namespace) -> list[RunSpec]:
    """The runs of several experiments; those that several ask for stand there more than once.

    Raises:
        ValueError: Settings that cannot be.
    """
    return [spec for name in names for row in settings_of(name, options).specs().values() for spec in row]


def print_plan(names: Sequence[str], arguments: Sequence[str]) -> None:
    """Say how many runs several experiments have together, each counted once, and how long they will take.

    Args:
        names: Experiments.
        arguments: The options that they share.

    Raises:
        ValueError: Settings that cannot be.
    """
    options = parser("paper", __doc__).parse_args(arguments)
    specs = specs_of(names, options)
    jobs, _ = jobs_of(options, specs[0].base)
    print(f"all experiments that train: {plan_of(specs, options.output, jobs)}", flush=True)


def results_of(names: Sequence[str], arguments: Sequence[str]) -> list[RunResult]:
    """The finished results of several experiments' runs, each once.

    Args:
        names: Experiments.
        arguments: The options that they share.
    """
    options = parser("paper", __doc__).parse_args(arguments)
    wanted = {run_key(spec): spec for spec in specs_of(names, options)}
    return [result for result in load_results(options.output) if result.finished and result.key in wanted]


def provenance(outcomes: Outcomes) -> str:
    """One line: commits, number of runs, hours, machine."""
    runs = outcomes.runs
    if not runs:
        return "no run has finished"
    commits = ", ".join(dict.fromkeys(run.commit for run in runs if run.commit)) or "unknown"
    hours = sum(run.seconds.get("total", 0.0) for run in runs) / 3600
    machines = "; ".join(dict.fromkeys(str(run.hardware.get("cpu", "unknown")) for run in runs))
    days = sorted(run.finished_at[:10] for run in runs)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    seeds = len(outcomes.seeds)
    steps = " and ".join(map(str, sorted({run.spec.steps for run in runs if not run.spec.is_base})))
    best = " at most, to the best validation" if any(run.spec.validate_every for run in runs) else ""
    effort = (
        f"{len(runs)} runs, {seeds} seed{'s' if seeds > 1 else ''}, {steps} steps{best}, {hours:.1f} hours of one core"
    )
    left_out = f"; {outcomes.missing} runs missing" if outcomes.missing else ""
    return f"{effort}; commit {commits}; {when}; {machines}{left_out}"
