"""Do tasks use different experts? Shared top-k experts between tasks (the paper's Fig. 3), beside two nulls.

    python -m experiments.expert_overlap

Two samples of every task are profiled. On the diagonal stands how many of a layer's top-k experts two samples of one
task share, elsewhere what two tasks share; chance is k²/E. Tasks differ in their tokens, so a model that has learned
nothing shows the same picture in a weaker form. It is measured too, in two ways: an untrained model (weights freshly
drawn), and the trained model with its routers alone drawn anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedModel

import esft_lightning.data as task_data
from esft_lightning.affinity import AffinityProfile, chance_overlap, overlap_matrix, top_mass
from esft_lightning.callbacks.affinity_profiler import measure_affinity
from esft_lightning.moe import load_model
from esft_lightning.strategies import group_parameters

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TASKS = ("math", "code", "intent", "summary", "law", "translation")


@dataclass(frozen=True)
class Overlap:
    """Overlap of one model's experts between tasks.

    Attributes:
        model: Which model: trained, or one of the nulls.
        tasks: Names, N of them.
        matrix: Shared top-k experts, `[N, N]`, mean over layers; the diagonal compares two samples of one task.
        within: Mean of the diagonal.
        between: Mean of the rest.
        top_mass: Share of a task's gate mass that its top-k experts carry, by task, mean over layers.
        gate_mass: What the gates of one token sum to, by task, mean over layers: how sure the routers are.
    """

    model: str
    tasks: list[str]
    matrix: list[list[float]]
    within: float
    between: float
    top_mass: dict[str, float]
    gate_mass: dict[str, float]


def measure(
    name: str, model: PreTrainedModel, tasks: Sequence[str], tokens: int, base: str
) -> tuple[Overlap, int, int]:
    """Profile two samples of every task and compare their strongest experts by mean gate.

    Args:
        name: What to call the model.
        model: An MoE model.
        tasks: Task names.
        tokens: Tokens per sample.
        base: Whose tokenizer to use.

    Returns:
        The overlap, K (experts per token, also the k that is compared) and E.
    """
    halves: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    gates: dict[str, float] = {}
    profile: AffinityProfile | None = None
    for task in tasks:
        data = getattr(task_data, f"{task.capitalize()}DataModule")(
            tokenizer=base, batch_size=8, profile_sequences=None
        )
        batches = list(data.profile_dataloader())
        for half, scores in enumerate(halves):
            profile = measure_affinity(model, islice(batches, half, None, 2), token_budget=tokens)
            scores[task] = profile.scores("gate", normalize=True)
            gates[task] = float(profile.gate_mass().mean())
    if profile is None:
        raise ValueError("no task to profile")
    k = profile.top_k
    names, matrix = overlap_matrix(*halves, k)
    off = ~np.eye(len(names), dtype=bool)
    masses = {task: float(top_mass(halves[0][task], k).mean()) for task in names}
    within, between = float(matrix.diagonal().mean()), float(matrix[off].mean())
    overlap = Overlap(name, names, matrix.tolist(), within, between, masses, gates)
    return overlap, k, profile.num_experts


def redraw_routers(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Give every router random weights of the norm that its own have; nothing else changes."""
    generator = torch.Generator().manual_seed(seed)
    groups = group_parameters(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if groups[name] == "router" and parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.float().std())
    return model


def draw(overlaps: Sequence[Overlap], k: int, chance: float, path: Path) -> None:
    """One matrix per model on a common scale."""
    figure, axes = plt.subplots(1, len(overlaps), figsize=(4.4 * len(overlaps), 4.4), layout="constrained")
    image = None
    for axis, overlap in zip(axes, overlaps, strict=True):
        image = axis.imshow(overlap.matrix, vmin=0, vmax=k, cmap="viridis")
        axis.set_title(f"{overlap.model}\nwithin {overlap.within:.2f}, between {overlap.between:.2f}", fontsize=10)
        axis.set_xticks(range(len(overlap.tasks)), overlap.tasks, rotation=45, ha="right")
        axis.set_yticks(range(len(overlap.tasks)), overlap.tasks)
        for row, values in enumerate(overlap.matrix):
            for column, value in enumerate(values):
                color = "black" if value > 0.6 * k else "white"
                axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=color, fontsize=8)
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.8, label=f"shared experts of the top {k} (chance {chance:.2f})")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write `expert_overlap.{json,png}`."""
    parser = argparse.ArgumentParser(prog="python -m experiments.expert_overlap", description=__doc__.split("\n")[0])
    parser.add_argument("--base", default="tiny", help="model: tiny, a folder, or a hub id (default: %(default)s)")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS, help="tasks to compare (default: all)")
    parser.add_argument("--tokens", type=int, default=16_384, help="tokens per sample and task (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the nulls' weights (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/expert_overlap"), help="folder (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)

    models = {
        "trained": lambda: load_model(options.base, dtype="float32"),
        "routers drawn anew": lambda: redraw_routers(load_model(options.base, dtype="float32"), options.seed),
        "untrained model": lambda: load_model(options.base, dtype="float32", random_weights=True, seed=options.seed),
    }
    console, overlaps, k, experts = Console(), [], 0, 0
    for name, load in models.items():
        with console.status(f"profiling {len(options.tasks)} tasks: {name}"):
            overlap, k, experts = measure(name, load(), options.tasks, options.tokens, options.base)
        overlaps.append(overlap)

    chance = chance_overlap(k, experts)
    table = Table(title=f"Shared top-{k} experts of {experts} (chance {chance:.2f})")
    for heading in ("model", "within a task", "between tasks", f"share of the top {k}", "gates sum to"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for overlap in overlaps:
        share, mass = (float(np.mean(list(values.values()))) for values in (overlap.top_mass, overlap.gate_mass))
        table.add_row(overlap.model, f"{overlap.within:.2f}", f"{overlap.between:.2f}", f"{share:.2f}", f"{mass:.2f}")
    console.print(table)
    draw(overlaps, k, chance, options.output / "expert_overlap.png")
    record = {"base": options.base, "tokens": options.tokens, "seed": options.seed, "top_k": k, "chance": chance}
    record["models"] = [asdict(overlap) for overlap in overlaps]
    (options.output / "expert_overlap.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    console.print(f"{options.output / 'expert_overlap.png'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
