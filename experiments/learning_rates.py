"""Which learning rate suits each strategy on a model? A search over the paper's own four rates, scaled.

    python -m experiments.learning_rates

The paper chose every method's rate among 1e-5, 3e-5, 1e-4 and 3e-4. For the embedded model these are multiplied by 100.
Each strategy keeps the rate with the lowest validation loss, summed over one enhancement and one adaptation task; the
quotient by the strategy's own default is what `learning_rate_scale` in the model's YAML holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from esft_lightning import strategies
from esft_lightning.comparison import RunResult, RunSpec, build_grid, run_grid

STRATEGIES = ("FullFineTuning", "LoRA", "FrozenExperts", "ESFTGate", "ESFTToken")
TASKS = ("math", "law")
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
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m experiments.learning_rates", description=description)
    parser.add_argument("--base", default="tiny", help="model: tiny, a folder, or a hub id (default: %(default)s)")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="tasks to search on (default: math law)")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, help="default: %(default)s")
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="rates, unscaled (default: the paper's)")
    parser.add_argument("--scale", type=float, default=100.0, help="multiplies every rate (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/learning_rates"), help="folder (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time, a thread each (default: 1)")
    options = parser.parse_args(arguments)
    specs = [
        spec
        for task in options.tasks
        for spec in specs_of(task, options.rates, options.scale, options.base, options.strategies)
    ]
    outcome = run_grid(specs, options.output, jobs=options.jobs)
    Console().print(table_of(outcome.results, options.tasks, options.strategies))
    return 1 if outcome.failed else 0


def table_of(results: Sequence[RunResult], tasks: Sequence[str], names: Sequence[str]) -> Table:
    """Every strategy and rate; a star marks the rate with the least sum of validation losses over the tasks.

    Args:
        results: Runs that `specs_of` asked for; failed ones are left out.
        tasks: The tasks that were searched on.
        names: The strategies.
    """
    table = Table(title="Learning rates: validation loss · task score · general ability")
    headings = ["strategy", "rate", *(f"{task}: loss · task · general" for task in tasks), "loss in all", "scale"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for name in names:
        default = getattr(strategies, name)().learning_rate
        runs = [r for r in results if r.finished and r.spec.strategy == name and r.losses["validation"]]
        by_rate: dict[float, dict[str, RunResult]] = {}
        for run in runs:
            by_rate.setdefault(run.learning_rate, {})[run.spec.task] = run
        whole = {rate: found for rate, found in by_rate.items() if set(found) == set(tasks)}
        sums = {rate: sum(_loss(run) for run in found.values()) for rate, found in whole.items()}
        best = min(sums, key=sums.__getitem__, default=None)
        for rate, found in sorted(whole.items()):
            scores = [
                f"{_loss(run):.3f} · {100 * run.after['task']:.1f} · {100 * run.after['general/average']:.1f}"
                for run in (found[task] for task in tasks)
            ]
            star = " *" if rate == best else ""
            table.add_row(f"{name}{star}", f"{rate:.0e}", *scores, f"{sums[rate]:.3f}", f"{rate / default:.1f}")
    return table


def _loss(run: RunResult) -> float:
    return run.losses["validation"][-1][1]


if __name__ == "__main__":
    raise SystemExit(main())
