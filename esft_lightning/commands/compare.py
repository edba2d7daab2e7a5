"""The verb `compare`: strategies × tasks × seeds → one table, one TensorBoard folder, one report.

Everything is checked before the long part starts. No torch or Lightning is imported here: the runs' processes do.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from esft_lightning.comparison.grid import (
    DEFAULT_EFFORT,
    DEFAULT_STRATEGIES,
    DEFAULT_TASKS,
    QUICK_EFFORT,
    STRATEGIES,
    build_grid,
    check_name,
    check_strategy,
)
from esft_lightning.comparison.grid_options import add_grid_options, commands_of, jobs_of, narrowed, positive
from esft_lightning.comparison.plan import plan_of
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.embedded import is_embedded
from esft_lightning.errors import SettingError
from esft_lightning.moe.base_source import base_source
from esft_lightning.tasks import TASKS

DESCRIPTION = "Fine-tune one base model with every strategy on the same batches, and compare what each gains and costs."
EPILOG = """\
Finished runs are not repeated, and an interrupted comparison goes on where it was: give the same command again.

  python -m esft_lightning compare                        math and law, all strategies, minutes on two cores
  python -m esft_lightning compare --quick                the same with fewer steps and test rows
  python -m esft_lightning compare --tasks all --seeds 3 --allow-code-execution
  python -m esft_lightning compare --tasks intent --strategies ESFTToken my_package.MyStrategy --steps 200
"""
OUTPUT = Path("runs/compare")
QUICK_OUTPUT = Path("runs/compare-quick")
USAGE_ERROR, RUN_FAILED, INTERRUPTED = 2, 1, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=list(DEFAULT_TASKS),
        metavar="TASK",
        help=f"{', '.join(TASKS)}, or all (default: {' '.join(DEFAULT_TASKS)})",
    )
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=list(DEFAULT_STRATEGIES),
        metavar="NAME",
        help=f"{', '.join(STRATEGIES)}, or class paths of your own (default: the first six); "
        "the base model is always evaluated",
    )
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="seeds 0 to N-1 (default: 1)")
    parser.add_argument("--quick", action="store_true", help="fewer steps and test rows; all strategies stay")
    parser.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help=f"optimizer steps (default: {DEFAULT_EFFORT.steps}, quick {QUICK_EFFORT.steps})",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help=f"test rows of a task (default: {DEFAULT_EFFORT.test_rows}, quick {QUICK_EFFORT.test_rows})",
    )
    parser.add_argument(
        "--general-limit",
        type=positive,
        metavar="N",
        help="rows of each general-ability probe "
        f"(default: {DEFAULT_EFFORT.general_rows}, quick {QUICK_EFFORT.general_rows})",
    )
    parser.add_argument("--base", default="tiny", help="tiny (embedded), a local folder, or a hub id (default: tiny)")
    parser.add_argument(
        "--learning-rate-scale",
        type=float,
        metavar="X",
        help="multiplies every strategy's learning rate (default: the tiny model's own; 1 for other bases)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"root of the runs (default: {OUTPUT}, quick {QUICK_OUTPUT})",
    )
    add_grid_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb.

    Returns:
        0 when every run finished, 1 when one failed, 2 when those that failed did so for what a user can mend, 130 when
        interrupted.

    Raises:
        UserError: For arguments that cannot be, and a base that is not there.
    """
    output = args.output or (QUICK_OUTPUT if args.quick else OUTPUT)
    specs = narrowed(_specs(args), args.only)
    base_source(args.base)
    jobs, threads = jobs_of(args, args.base)
    plan = plan_of(specs, output, jobs)
    if args.print_commands or args.plan:
        print("\n".join(commands_of(plan, _command_words())) if args.print_commands else plan)
        return 0
    _check_output(output)
    return _compare(specs, output, args, jobs, threads)


def _compare(specs: list[RunSpec], output: Path, args: argparse.Namespace, jobs: int, threads: int) -> int:
    from rich.console import Console

    from esft_lightning.comparison.overview import write_overview
    from esft_lightning.comparison.report import write_report
    from esft_lightning.comparison.runner import run_grid
    from esft_lightning.comparison.table import terminal_table
    from esft_lightning.publication.html import write_html

    console = Console()
    console.print(
        f"{len(specs)} runs in {output}, {jobs} at a time, {threads} threads each", highlight=False, soft_wrap=True
    )
    if not is_embedded(args.base):
        console.print(
            "general ability is not measured: its probes ask about the embedded model's world; see the verb evaluate",
            highlight=False,
            soft_wrap=True,
        )
    started = time.perf_counter()
    try:
        outcome = run_grid(
            specs,
            output,
            threads=threads,
            jobs=jobs,
            allow_code_execution=args.allow_code_execution,
            console=console,
        )
    except KeyboardInterrupt:
        print(f"\ncompare: interrupted; finished runs stay in {output}. Go on with the same command:\n  {_command()}")
        return INTERRUPTED
    report = write_report(outcome.results, output, command=_command())
    page = write_html(report, output / "report.html")
    write_overview(outcome.results, output)
    console.print(terminal_table(outcome.results))
    for wall in sorted({wall for result in outcome.results for wall in result.missing_walls}):
        print(f"generated code ran without a wall that the machine does not let the sandbox put up: {wall}")
    for result in outcome.failed:
        if not result.mendable:
            print(f"failed: {result.spec.task}, {result.spec.name}, seed {result.spec.seed}: {result.error}")
    for error in dict.fromkeys(result.error for result in outcome.failed if result.mendable):
        print(f"error: {error}", file=sys.stderr)
    minutes = (time.perf_counter() - started) / 60
    print(f"{outcome.made} runs made in {minutes:.1f} min, {outcome.kept} found finished")
    print(f"report: {report}, {page}")
    print(f"tensorboard --logdir {shlex.quote(str(output))}")
    if all(result.mendable for result in outcome.failed):
        return USAGE_ERROR if outcome.failed else 0
    return RUN_FAILED


def _specs(args: argparse.Namespace) -> list[RunSpec]:
    """The grid that the arguments ask for.

    Raises:
        ValueError: Arguments that cannot be, with the way out.
    """
    tasks = _unique(args.tasks)
    tasks = list(TASKS) if tasks == ["all"] else tasks
    for task in tasks:
        check_name(task, (*TASKS, "all"), "task")
    if "all" in tasks:
        raise SettingError("--tasks all stands alone; leave the other tasks out")
    sys.path.insert(0, str(Path.cwd()))  # a strategy of the user's own may lie beside the runs
    strategies = _unique(args.strategies)
    for strategy in strategies:
        check_strategy(strategy)
    if "code" in tasks and not args.allow_code_execution:
        others = " ".join(task for task in tasks if task != "code") or "math"
        raise SettingError(
            "the code task is scored by running what the model wrote (in a separate process with time, memory and file "
            f"limits); say --allow-code-execution, or leave it out with --tasks {others}"
        )
    effort = QUICK_EFFORT if args.quick else DEFAULT_EFFORT
    if not is_embedded(args.base):
        effort = replace(effort, data={})  # lengths and batches were chosen for the embedded model
    given = {"steps": args.steps, "test_rows": args.limit, "general_rows": args.general_limit}
    effort = replace(effort, **{name: value for name, value in given.items() if value is not None})
    return build_grid(
        tasks,
        strategies,
        range(args.seeds),
        base=args.base,
        effort=effort,
        learning_rate_scale=args.learning_rate_scale,
    )


def _check_output(output: Path) -> None:
    """Make the output folder and write to it.

    Raises:
        ValueError: If that does not work.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise SettingError(f"--output {output} cannot be written: {error.strerror or error}") from error


def _command() -> str:
    """The command as it was given, for a reader to repeat."""
    return shlex.join(_command_words())


def _command_words() -> list[str]:
    return ["python", "-m", "esft_lightning", *_given_arguments()]


def _given_arguments() -> list[str]:
    given = sys.argv[1:]
    return given if given[:1] == ["compare"] else ["compare"]


def _unique(names: list[str]) -> list[str]:
    """Names in their order, each once; commas separate as spaces do."""
    return list(dict.fromkeys(name for given in names for name in given.split(",") if name))
