"""The options of every command that runs a grid: how many runs at once, which of them, or only what would be run."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from esft_lightning.comparison.devices import visible_devices
from esft_lightning.comparison.plan import Plan
from esft_lightning.comparison.run_places import run_key
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.runner import usable_cores
from esft_lightning.embedded import is_embedded
from esft_lightning.errors import SettingError


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--jobs`, `--threads`, `--allow-code-execution`, `--plan`, `--print-commands` and `--only`."""
    parser.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="runs at the same time (default: one a core for tiny, else one a CUDA device, or 1)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads of a run (default: the cores, shared by the jobs)",
    )
    parser.add_argument(
        "--allow-code-execution",
        action="store_true",
        help="score the code task by running what the model wrote, in a separate process with time, memory and file "
        "limits",
    )
    parser.add_argument("--plan", action="store_true", help="say what would be run and how long it takes; run nothing")
    parser.add_argument(
        "--print-commands",
        action="store_true",
        help="print a command for each run that has not finished, one a line, for a cluster's launcher; run nothing",
    )
    parser.add_argument("--only", nargs="+", metavar="KEY", help="only the runs with these keys, and their base runs")


def jobs_of(options: argparse.Namespace, base: str) -> tuple[int, int]:
    """Runs at the same time, and threads of each.

    A step of the tiny model is too small to be split: two runs on a thread each take half the time of one on two.

    Args:
        options: As `add_grid_options` declared them.
        base: The base model.
    """
    jobs = options.jobs or (usable_cores() if is_embedded(base) else max(1, len(visible_devices())))
    return jobs, options.threads or max(1, usable_cores() // jobs)


def narrowed(specs: Sequence[RunSpec], only: Sequence[str] | None) -> list[RunSpec]:
    """The runs with the given keys, and the base runs whose scores they record; all runs where no key is given.

    Raises:
        ValueError: A key that none of the runs has.
    """
    if not only:
        return list(specs)
    keyed = {run_key(spec): spec for spec in specs}
    if unknown := sorted(set(only) - set(keyed)):
        raise SettingError(f"--only {' '.join(unknown)}: no such run in this grid; --print-commands lists the keys")
    chosen = [keyed[key] for key in dict.fromkeys(only)]
    bases = [spec.base_run() for spec in chosen if not spec.is_base]
    return list({run_key(spec): spec for spec in (*bases, *chosen)}.values())


def commands_of(plan: Plan, arguments: Sequence[str]) -> list[str]:
    """A command for each run that waits; they are independent, and may run at the same time on several machines.

    Args:
        plan: What is left to do.
        arguments: The command that was given, word by word.
    """
    words = [word for word in arguments if word != "--print-commands"]
    return [shlex.join([*words, "--jobs", "1", "--only", run_key(spec)]) for spec in plan.waiting]


def positive(text: str) -> int:
    """An argument that must be a whole number above 0.

    Raises:
        argparse.ArgumentTypeError: It is not.
    """
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from error
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value
