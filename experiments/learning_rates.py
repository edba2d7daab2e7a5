"""Which learning rate suits each strategy on a model? A search over the paper's own four rates, scaled.

    python -m experiments.learning_rates

The paper chose every method's rate among 1e-5, 3e-5, 1e-4 and 3e-4. For the embedded model these are multiplied by 100.
Each strategy keeps the rate with the lowest validation loss on the task; the quotient by the strategy's own default is
what `learning_rate_scale` in the model's YAML holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esft_lightning import strategies
from esft_lightning.comparison import RunSpec, build_grid, run_grid

STRATEGIES = ("FullFineTuning", "LoRA", "FrozenExperts", "ESFTGate", "ESFTToken")
RATES = (1e-5, 3e-5, 1e-4, 3e-4)


def specs_of(task: str, rates: Sequence[float], scale: float, base: str, names: Sequence[str]) -> list[RunSpec]:
    """A run per strategy and rate, and the base run that they share."""
    base_run, *runs = build_grid([task], names, base=base, learning_rate_scale=scale)
    found = [base_run]
    for run in runs:
        for rate in rates:
            changes = {"strategy_args": {**run.strategy_args, "learning_rate": rate}}
            found.append(run.with_changes(label=f"{run.strategy} {rate * scale:.0e}", **changes))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search, continue it where it was stopped, and print the rates."""
    parser = argparse.ArgumentParser(prog="python -m experiments.learning_rates", description=__doc__.split("\n")[0])
    parser.add_argument("--base", default="tiny", help="model: tiny, a folder, or a hub id (default: %(default)s)")
    parser.add_argument("--task", default="law", help="task to search on (default: %(default)s)")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, help="default: %(default)s")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="rates, unscaled (default: the paper's)")
    parser.add_argument("--scale", type=float, default=100.0, help="multiplies every rate (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/learning_rates"), help="folder (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time, a thread each (default: 1)")
    options = parser.parse_args(arguments)
    specs = specs_of(options.task, options.rates, options.scale, options.base, options.strategies)
    outcome = run_grid(specs, options.output, jobs=options.jobs)

    table = Table(title=f"Learning rates on {options.task}: validation loss · task score · general ability")
    for heading in ("strategy", "rate", "validation loss", "task", "general", "scale"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for name in options.strategies:
        runs = [r for r in outcome.results if r.finished and r.spec.strategy == name and r.losses["validation"]]
        best = min(runs, key=lambda run: run.losses["validation"][-1][1], default=None)
        for run in runs:
            default = getattr(strategies, name)().learning_rate
            table.add_row(
                f"{name}{' *' if run is best else ''}",
                f"{run.learning_rate:.0e}",
                f"{run.losses['validation'][-1][1]:.3f}",
                f"{100 * run.after['task']:.1f}",
                f"{100 * run.after['general/average']:.1f}",
                f"{run.learning_rate / default:.1f}",
            )
    Console().print(table)
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
