"""Does routing mean something? A base against nineteen untrained models and nineteen draws of its routers.

    python -m experiments.routing_nulls --base tiny

Tasks differ in their tokens, so that any router sends them to different experts and two samples of one task to the
same. What a base has learned is what goes beyond such routers: a statistic above all nineteen draws of a null happens
by chance once in twenty. Four statistics, means over tasks and layers:

- ``same task``: of the top-k experts of one sample of a task, how many are in the top k of another;
- ``contrast``: the same less what samples of different tasks share;
- ``concentration``: the share of the gates on a task's top-k experts;
- ``own share``: the gates of a task on its own top-k experts (chosen on the other sample) less those of other tasks
  there.

Nothing here trains. The table is written to ``routing_nulls.json`` in the output folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track

from esft_lightning.affinity import AffinityProfile, overlap_matrix, specific_mass, top_mass
from esft_lightning.command_parser import CommandParser
from esft_lightning.errors import UserError
from esft_lightning.storage import atomic_write
from esft_lightning.tasks import TASKS
from experiments.routing import REDRAWN, UNTRAINED, RoutingSettings, data_module, loaders, redraw_routers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DRAWS = 19
STATISTICS = ("same task", "contrast", "concentration", "own share")
Halves = tuple[Mapping[str, AffinityProfile], Mapping[str, AffinityProfile]]


@dataclass(frozen=True)
class Comparison:
    """One statistic of a base beside one null.

    Attributes:
        statistic: A name of `STATISTICS`.
        null: Which null.
        trained: The base's value.
        drawn: The null's values, one a draw.
    """

    statistic: str
    null: str
    trained: float
    drawn: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """`above`, `below` or `inside` all draws."""
        if self.trained > max(self.drawn):
            return "above"
        return "below" if self.trained < min(self.drawn) else "inside"


def statistics_of(halves: Halves, top_k: int) -> dict[str, float]:
    """Each of `STATISTICS` from two samples of every task."""
    first, second = ({task: profile.scores("gate") for task, profile in half.items()} for half in halves)
    _, matrix = overlap_matrix(first, second, top_k)
    same = float(matrix.diagonal().mean())
    own, others = specific_mass(first, second, top_k)
    return {
        "same task": same,
        "contrast": same - float(matrix[~np.eye(len(matrix), dtype=bool)].mean()),
        "concentration": float(np.mean([top_mass(scores, top_k).mean() for scores in first.values()])),
        "own share": float(np.mean([(own[task] - others[task]).mean() for task in own])),
    }


def compare(trained: Mapping[str, float], nulls: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Comparison]:
    """Every statistic beside every null."""
    return [
        Comparison(statistic, null, trained[statistic], tuple(entry[statistic] for entry in drawn))
        for null, drawn in nulls.items()
        for statistic in STATISTICS
    ]


def measure(
    base: str,
    tasks: Sequence[str] = TASKS,
    tokens: int = 4096,
    draws: int = DRAWS,
    progress: Callable[[Sequence[int]], Iterator[int]] = iter,
) -> list[Comparison]:
    """Profile a base and its nulls on the same rows.

    Args:
        base: `tiny`, a folder, or a hub id.
        tasks: Task names, at least two.
        tokens: Tokens of each of a task's two samples.
        draws: Draws of each null.
        progress: Wraps the numbers of the draws.
    """
    settings = RoutingSettings(base, tasks, tokens)
    samples = _samples(settings)
    load = loaders(settings, seed=0)
    model = next(iter(load.values()))()
    trained = _measured(model, samples, tokens)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    nulls: dict[str, list[dict[str, float]]] = {REDRAWN: [], UNTRAINED: []}
    for seed in progress(range(draws)):
        nulls[REDRAWN].append(_measured(redraw_routers(model, seed), samples, tokens))
        model.load_state_dict(kept)
        untrained = loaders(settings, seed)[UNTRAINED]()
        nulls[UNTRAINED].append(_measured(untrained, samples, tokens))
    return compare(trained, nulls)


def _samples(settings: RoutingSettings) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Task → batches, two samples of each; all models read the same."""
    halves: tuple[dict[str, list[Any]], dict[str, list[Any]]] = ({}, {})
    for task in settings.tasks:
        loader = data_module(settings, task).profile_dataloader()
        for number, half in enumerate(halves):
            half[task] = _enough(islice(iter(loader), number, None, 2), settings.tokens)
    return halves


def _enough(batches: Iterator[Any], tokens: int) -> list[Any]:
    taken, counted = [], 0
    for batch in batches:
        taken.append(batch)
        counted += int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()
        if counted >= tokens:
            break
    return taken


def _measured(model: PreTrainedModel, samples: tuple[dict[str, list[Any]], ...], tokens: int) -> dict[str, float]:
    from esft_lightning.profiling.measurement import measure_affinity

    first, second = (
        {task: measure_affinity(model, batches, token_budget=tokens) for task, batches in half.items()}
        for half in samples
    )
    return statistics_of((first, second), next(iter(first.values())).top_k)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write it."""
    parser = CommandParser(prog="python -m experiments.routing_nulls", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", default="tiny", help="the model: tiny, a folder, or a hub id")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="task names")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of each of a task's two samples")
    parser.add_argument("--draws", type=int, default=DRAWS, help="draws of each null (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/routing_nulls"), help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        comparisons = measure(
            options.base,
            options.tasks,
            options.tokens,
            options.draws,
            lambda numbers: iter(track(numbers, "draws of the nulls", console=console, transient=True)),
        )
    except (UserError, ValueError) as error:
        print(f"routing_nulls: {error}", file=sys.stderr)
        return 2
    print(f"| statistic | base | null | median | least to most of {options.draws} | base is |")
    print("|---|---:|---|---:|---:|---|")
    for entry in comparisons:
        low, high = min(entry.drawn), max(entry.drawn)
        print(
            f"| {entry.statistic} | {entry.trained:.3f} | {entry.null} | {np.median(entry.drawn):.3f} | "
            f"{low:.3f} to {high:.3f} | {entry.verdict} |"
        )
    values = [{**entry.__dict__, "verdict": entry.verdict} for entry in comparisons]
    atomic_write(options.output / "routing_nulls.json", (json.dumps(values, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
