"""Run the experiments one after another and join their sections into one page.

    python -m experiments.paper [--only NAME ...] [--routing-logs DIR] [--jobs N] [--docs docs/results]

Every experiment keeps what it measured below `--output`, so that the page can be made in pieces: what is there is not
measured again, and the page has every section that is there. Identical runs serve every experiment that asks for them.
The page opens with the verdicts on the paper's claims; beside it lies an archive of runs' results, which only grows,
and from which `--restore` goes on on another machine.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from esft_lightning.command_parser import CommandParser
from esft_lightning.comparison import RunResult
from esft_lightning.comparison.archive import ARCHIVE_FILE, read_archive, restore, write_archive
from esft_lightning.comparison.environment import commit, versions
from esft_lightning.comparison.overview import write_overview
from esft_lightning.errors import UserError, explanation
from esft_lightning.publication import write_page
from experiments import training
from experiments.settings import OUTPUTS, PRESETS

TRAINING = (
    "main_results",
    "general_ability",
    "random_experts",
    "cross_task_forgetting",
    "fronts",
    "learning_rates",
    "trained_parts",
    "data_mixing",
    "threshold_and_rank",
    "expert_granularity",
    "scale",
    "beyond_the_paper",
    "cost",
)
"""The experiments that train, in the order of the page; this is the order in which they run, too."""
ROUTING = (
    "routing_concentration",
    "expert_overlap",
    "experts_per_layer",
    "selection_stability",
    "token_coverage",
)
"""The experiments that only read routing, in the order of the page."""
ORDER = (*ROUTING, *TRAINING)
PAGES = {"tiny": Path("docs/results"), "paper": Path("docs/results_full_size")}
"""Where a preset's page goes unless told otherwise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and write the page; 0 when every experiment did well."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    options.output = options.output or OUTPUTS[options.preset]
    options.docs = options.docs or PAGES[options.preset]
    if options.restore:
        try:
            restored, foreign = restore(options.restore, options.output)
        except (UserError, OSError) as error:
            print(f"error: --restore: {explanation(error)}", file=sys.stderr)
            return 2
        other = f"; {foreign} of another base model's files, or on other rows, left out" if foreign else ""
        print(f"{restored} finished runs restored from {options.restore}{other}")
    archive = options.docs / ARCHIVE_FILE
    try:
        _archived(archive)  # one that cannot be read is better known before hours of runs
    except (UserError, OSError) as error:
        print(f"error: --docs: {explanation(error)}; move it away, or take it from git again", file=sys.stderr)
        return 2
    trained = [name for name in options.only if name in TRAINING]
    if trained:
        training.print_plan(trained, _arguments(trained[0], options))
    if options.plan:
        codes = [
            import_module(f"experiments.{name}").main([*_arguments(name, options), "--plan"]) for name in options.only
        ]
        return max(codes)
    failed = []
    for name in options.only:
        print(f"— {name}", flush=True)
        code = import_module(f"experiments.{name}").main(_arguments(name, options))
        if code == training.INTERRUPTED:
            return code
        if code:
            failed.append(name)
    done = [options.output / name for name in ORDER if (options.output / name / "section.md").is_file()]
    if done:
        print(write_page("Results", _introduction(given, options.preset), done, options.docs))
    if done and trained:
        results = training.results_of(trained, _arguments(trained[0], options))
        write_archive([*_archived(archive), *results], archive)
        write_overview(results, options.output)
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


def _archived(archive: Path) -> list[RunResult]:
    """What the archive holds, which may not be there yet."""
    return read_archive(archive) if archive.is_file() else []


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m experiments.paper", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="settings to take (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ORDER, default=list(ORDER), metavar="NAME", help=", ".join(ORDER))
    parser.add_argument("--tasks", nargs="+", help="other tasks than the presets'")
    parser.add_argument("--seeds", type=int, metavar="N", help="another number of seeds than the presets'")
    parser.add_argument("--tokens", type=int, help="other sizes of the routing samples than the presets'")
    parser.add_argument("--routing-logs", type=Path, metavar="DIR", help="also draw routing from the logs here")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at the same time (default: one a core)")
    parser.add_argument(
        "--allow-code-execution", action="store_true", help="score the code task by running what the model wrote"
    )
    for option, folders, what in (("--output", OUTPUTS, "folder"), ("--docs", PAGES, "the page's folder")):
        parser.add_argument(option, type=Path, help=f"{what} (default: {', '.join(map(str, folders.values()))})")
    parser.add_argument(
        "--restore",
        type=Path,
        metavar="FILE",
        help="take the finished runs of an archive first, as docs/results has it",
    )
    parser.add_argument("--plan", action="store_true", help="say what would be measured, and measure nothing")
    parser.add_argument("--publish-only", action="store_true", help="train nothing; make the page from what is there")
    return parser


def _arguments(name: str, options: argparse.Namespace) -> list[str]:
    """What an experiment is told."""
    told = ["--preset", options.preset, "--output", str(options.output)]
    told += ["--tasks", *options.tasks] if options.tasks else []
    if name in ROUTING:
        told += ["--tokens", str(options.tokens)] if options.tokens else []
        return told + (["--routing-logs", str(options.routing_logs)] if options.routing_logs else [])
    told += ["--seeds", str(options.seeds)] if options.seeds else []
    told += ["--jobs", str(options.jobs)] if options.jobs else []
    told += ["--allow-code-execution"] if options.allow_code_execution else []
    return told + (["--publish-only"] if options.publish_only else [])


def _introduction(given: Sequence[str], preset: str) -> str:
    models = {
        "tiny": (
            "on the embedded model, each beside its controls, and the verdicts on what the paper claims. Scores of a "
            "model of 5.5 million parameters on generated tasks: they test mechanisms, and their size says nothing "
            "about a 16B model's."
        ),
        "paper": "on full-size models, each beside its controls, and the verdicts on what the paper claims.",
    }
    command = shlex.join(["python", "-m", "experiments.paper", *given])
    tools = ", ".join(f"{name} {number}" for name, number in versions().items() if name in ("torch", "transformers"))
    return (
        f"The paper's tables and figures {models[preset]} Every number comes from the runs' `result.json` files. "
        f"Made by `{command}`, commit {commit() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}, {tools}."
    )


if __name__ == "__main__":
    sys.exit(main())
