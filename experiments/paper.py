"""Run the experiments one after another and join their sections into one page.

    python -m experiments.paper [--only NAME ...] [--routing-logs DIR] [--docs docs/results]

Every experiment keeps what it measured below `--output`, so that the page can be made in pieces: what is there is not
measured again. The page opens with the verdicts on the paper's claims.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from esft_lightning.comparison.environment import commit, versions
from esft_lightning.publication import write_page
from experiments.settings import PRESETS

ORDER = (
    "routing_concentration",
    "expert_overlap",
    "experts_per_layer",
    "selection_stability",
    "token_coverage",
)
"""The experiments in the order of the page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and write the page; 0 when every experiment did well."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m experiments.paper", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="settings to take (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ORDER, default=list(ORDER), metavar="NAME", help=", ".join(ORDER))
    parser.add_argument("--tasks", nargs="+", help="other tasks than the preset's")
    parser.add_argument("--tokens", type=int, help="other sizes of the samples than the preset's")
    parser.add_argument("--routing-logs", type=Path, metavar="DIR", help="also draw from the routing logs here")
    parser.add_argument("--output", type=Path, default=Path("runs/paper"), help="folder (default: %(default)s)")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs/results"), help="the page's folder (default: %(default)s)"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be measured, and measure nothing")
    options = parser.parse_args(given)
    shared = ["--preset", options.preset, "--output", str(options.output)]
    if options.tasks:
        shared += ["--tasks", *options.tasks]
    if options.tokens:
        shared += ["--tokens", str(options.tokens)]
    if options.routing_logs:
        shared += ["--routing-logs", str(options.routing_logs)]
    failed = []
    for name in options.only:
        print(f"— {name}", flush=True)
        if import_module(f"experiments.{name}").main([*shared, *(["--plan"] if options.plan else [])]):
            failed.append(name)
    if options.plan:
        return 1 if failed else 0
    done = [options.output / name for name in options.only if name not in failed]
    if done:
        page = write_page("Results", _introduction(given), done, options.docs)
        print(f"{page}")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


def _introduction(given: Sequence[str]) -> str:
    command = shlex.join(["python", "-m", "experiments.paper", *given])
    tools = ", ".join(f"{name} {number}" for name, number in versions().items() if name in ("torch", "transformers"))
    return (
        "The paper's figures that need only routing, each beside its nulls, and the verdicts on what the paper claims. "
        f"Made by `{command}`, commit {commit() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}, {tools}."
    )


if __name__ == "__main__":
    sys.exit(main())
