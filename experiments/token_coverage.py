"""How many of a token's experts does ESFT train? Hits of the trained experts, token by token (the paper's Fig. 9).

    python -m experiments.token_coverage [--routing-logs DIR]

ESFT-Token (p = 0.2) selects experts from one sample of a task. For every token of another sample the choices (K in each
layer) that fall on a trained expert are counted: on tokens of the task itself, and of the other tasks. The embedded
model's tokens are shown with their text, coloured by the count; routing logs come without text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from esft_lightning.affinity import ExpertSelection, RoutingLog
from esft_lightning.publication import (
    Claim,
    Figure,
    ResultTable,
    Section,
    judge_difference,
    mean_interval,
)
from esft_lightning.storage import whole_file
from experiments import routing
from experiments.drawing import new_figure, panels, task_colors
from experiments.experts_per_layer import selection

NAME = "token_coverage"
TOKENS = 4096
SHOWN, LINES = 110, 4  # tokens of a text, and lines


@dataclass(frozen=True)
class Coverage:
    """Hits of one model's tokens.

    Attributes:
        measured: The model.
        hits: Trained task → task whose tokens are read → share of the token's choices that are trained, [L, T].
        texts: Task → the first tokens as text with their share; empty without text.
    """

    measured: routing.Measured
    hits: dict[str, dict[str, np.ndarray]]
    texts: dict[str, list[tuple[str, float]]]

    def own(self) -> dict[str, np.ndarray]:
        """Task → shares of its own tokens, mean over layers, [T]."""
        return {task: found[task].mean(0) for task, found in self.hits.items()}

    def others(self) -> dict[str, np.ndarray]:
        """Task → shares of all other tasks' tokens under its selection, mean over layers, [T]."""
        return {
            task: np.concatenate([shares.mean(0) for name, shares in found.items() if name != task])
            for task, found in self.hits.items()
        }

    def gap(self) -> np.ndarray:
        """Share on own tokens less that on other tasks' tokens, by task and layer, [tasks, L]."""
        return np.array(
            [
                found[task].mean(1)
                - np.concatenate([shares for name, shares in found.items() if name != task], axis=1).mean(1)
                for task, found in self.hits.items()
            ]
        )


def hit_shares(chosen: ExpertSelection, layers: Sequence[int], expert_ids: np.ndarray, experts: int) -> np.ndarray:
    """Share of every token's K choices in a layer that are trained experts.

    Args:
        chosen: What is trained.
        layers: Layer number of each row of `expert_ids`.
        expert_ids: [L, T, K].
        experts: E.

    Returns:
        [L, T], between 0 and 1.
    """
    trained = np.zeros((len(layers), experts), dtype=bool)
    for row, layer in enumerate(layers):
        trained[row, list(chosen.experts.get(layer, ()))] = True
    return trained[np.arange(len(layers))[:, None, None], expert_ids].mean(axis=2)


def coverage_of(
    measured: routing.Measured, logs: Mapping[str, RoutingLog], texts: Mapping[str, Sequence[str]]
) -> Coverage:
    """Count hits: experts are selected from the first half's profiles, tokens are those of `logs`.

    Args:
        measured: The model's profiles.
        logs: Task → routing of tokens that are not in the first half.
        texts: Task → the tokens' text, where it is known.
    """
    hits = {}
    for task, profile in measured.full(0).items():
        chosen = selection(profile, "token", 0.2)
        hits[task] = {
            name: hit_shares(chosen, profile.layers, log.expert_ids, profile.num_experts) for name, log in logs.items()
        }
    shown = {task: list(zip(texts[task][:SHOWN], hits[task][task].mean(0), strict=False)) for task in texts}
    return Coverage(measured, hits, shown)


def read_tokens(model: Any, data: Any, tokenizer: Any, path: Path) -> tuple[RoutingLog, list[str]]:
    """Routing and text of the first tokens of a task's second half, kept at `path` as a routing log.

    Args:
        model: The model, or a function that loads it; not needed when the file is there.
        data: The task's DataModule.
        tokenizer: Its tokenizer.
        path: The `.npz`.
    """
    import torch

    from esft_lightning.moe import RoutingTap

    batches = iter(data.profile_dataloader())
    next(batches)  # the first half has the even batches
    ids: list[int] = []
    parts: dict[int, list[Any]] = {}
    lengths: list[int] = []
    if path.is_file():
        log = RoutingLog.load(path)
        while len(ids) < log.expert_ids.shape[1]:
            batch = next(batches)
            ids += batch["input_ids"][batch["token_mask"]].tolist()
            next(batches, None)
        return log, tokenizer.convert_ids_to_tokens(ids)
    model = model()
    tap = RoutingTap(model)
    while len(ids) < TOKENS:
        batch = next(batches)
        inputs = {key: batch[key] for key in ("input_ids", "position_ids") if key in batch}
        with torch.no_grad(), tap.record(batch["token_mask"]) as routed:
            model(**inputs, use_cache=False)
        for layer, entry in routed.items():
            parts.setdefault(layer, []).append((entry.top_k_index.numpy(), entry.top_k_weights.float().numpy()))
        found = batch["input_ids"][batch["token_mask"]].tolist()
        ids += found
        lengths.append(len(found))
        next(batches, None)
    layers = sorted(parts)
    index, gates = (
        np.stack([np.concatenate([part[place] for part in parts[layer]]) for layer in layers]) for place in (0, 1)
    )
    arrays = {"expert_ids": index.astype(np.int16), "gate_weights": gates, "sample_lengths": np.array(lengths)}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return RoutingLog(**arrays), tokenizer.convert_ids_to_tokens(ids)


def cover(name: str, options: argparse.Namespace, measured: Sequence[routing.Measured]) -> list[Coverage]:
    """Token by token, for the trained model, its nulls, and the logs."""
    from esft_lightning.moe.tokenizer import load_tokenizer

    settings = routing.settings_of(name, options)
    tokenizer = load_tokenizer(settings.base)
    models = routing.loaders(settings, options.seed)
    rows = {task: routing.data_module(settings, task) for task in settings.tasks}
    found = []
    for entry in measured:
        if entry.kind == routing.LOGGED:
            logs = {task: _odd(log) for task, log in routing.load_logs(options.routing_logs).items()}
            found.append(coverage_of(entry, {task: logs[task] for task in entry.tasks}, {}))
            continue
        logs, texts = {}, {}
        for task, data in rows.items():
            stem = routing.cache_stem(settings, entry.kind, options.seed, data)
            path = options.output / "profiles" / f"{stem}-{task}-tokens.npz"
            logs[task], texts[task] = read_tokens(models[entry.kind], data, tokenizer, path)
        found.append(coverage_of(entry, logs, {} if entry.is_null else _readable(texts, tokenizer)))
    return found


def _odd(log: RoutingLog) -> RoutingLog:
    """The samples that the first half does not have."""
    odd = np.arange(len(log.sample_lengths)) % 2 == 1
    kept = np.repeat(odd, log.sample_lengths)
    return RoutingLog(log.expert_ids[:, kept], log.gate_weights[:, kept], log.sample_lengths[odd])


def _readable(texts: Mapping[str, Sequence[str]], tokenizer: Any) -> dict[str, list[str]]:
    """Tokens as a reader knows them; those that are part of a character show as they are stored."""
    return {
        task: [tokenizer.convert_tokens_to_string([token]) if token not in tokenizer.all_special_tokens else token
               for token in tokens[:SHOWN]]
        for task, tokens in texts.items()
    }  # fmt: skip


def claims_of(coverages: Sequence[Coverage]) -> list[Claim]:
    """Trained experts are hit more by the task's own tokens than by others'."""
    claims = []
    nulls = [entry for entry in coverages if entry.measured.is_null]
    for entry in (found for found in coverages if not found.measured.is_null):
        against = nulls if entry.measured.kind == routing.TRAINED else []
        share = "trained share of a token's choices, own − other tasks' tokens"
        cases = [
            (entry.gap() - null.gap(), f" − {null.measured.model}", f"null: {null.measured.model}") for null in against
        ]
        for gap, less, null_rule in cases or [(entry.gap(), "", "logs have no untrained null")]:
            interval = mean_interval(gap).scaled(100)
            claims.append(
                Claim(
                    "A task's tokens use the experts that are trained for it",
                    "Fig. 9",
                    judge_difference(interval),
                    f"{share}, {entry.measured.model}{less}, points",
                    interval,
                    f"interval over tasks and layers above 0; {null_rule}",
                )
            )
    return claims


def section_of(coverages: Sequence[Coverage], command: str) -> Section:
    """Table, histograms, coloured text and claims."""
    rows: list[list[str]] = []
    groups: dict[int, str] = {}
    for entry in coverages:
        groups[len(rows)] = entry.measured.model
        own, others = entry.own(), entry.others()
        for task in own:
            choices = len(next(iter(entry.measured.full(0).values())).layers) * entry.measured.top_k
            few, many = np.percentile(own[task], [10, 90]) * choices
            rows.append(
                [task, f"{100 * own[task].mean():.1f}", f"{100 * others[task].mean():.1f}", f"{few:.0f}–{many:.0f}",
                 str(choices), f"{100 * (own[task] == 0).mean():.1f}"]
            )  # fmt: skip
    columns = ("task", "own tokens, %", "others' tokens, %", "hits of 10–90 % of own tokens", "of", "no hit, %")
    caption = "choices that fall on experts trained by ESFT-Token (p = 0.2)"
    figure = new_figure(4.2 * min(len(coverages), 4), 3.6)
    bins = np.linspace(0, 1, 26)
    colors = task_colors(coverages[0].measured.tasks)
    for axis, entry in zip(panels(figure, len(coverages), 4), coverages, strict=True):
        for task, shares in entry.own().items():
            axis.hist(shares, bins, density=True, histtype="step", color=colors.get(task), label=task)
        axis.hist(np.concatenate(list(entry.others().values())), bins, density=True, color="0.85", label="other tasks")
        axis.set_xlabel("trained share of a token's choices")
        axis.set_title(entry.measured.model, fontsize=10)
        axis.legend(fontsize=7, frameon=False)
    figure.axes[0].set_ylabel("density")
    figures = [
        Figure(NAME, figure, f"Trained share of a token's choices: {', '.join(c.measured.model for c in coverages)}")
    ]
    texts = {task: pieces for entry in coverages for task, pieces in entry.texts.items()}
    if texts:
        figures.append(_coloured(texts))
    return Section(
        NAME,
        "How many of a token's experts are trained?",
        "Fig. 9",
        "Experts are selected from one sample of a task and looked for in the tokens of another.",
        command,
        routing.provenance([entry.measured for entry in coverages]),
        [ResultTable(NAME, caption, columns, rows, groups)],
        figures,
        claims_of(coverages),
    )


def _coloured(texts: Mapping[str, Sequence[tuple[str, float]]]) -> Figure:
    """Text of every task, each token on the colour of its share."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure(11, 1.1 * len(texts) + 0.4)
    most = max(share for pieces in texts.values() for _, share in pieces) or 1.0
    axes = panels(figure, len(texts), 1)
    width = 118  # characters of a line
    for axis, (task, pieces) in zip(axes, texts.items(), strict=True):
        axis.set_xlim(0, width)
        axis.set_ylim(0.4 - LINES, 0.8)
        axis.axis("off")
        axis.set_title(task, loc="left", fontsize=9, pad=2)
        column, line = 0, 0
        for text, share in pieces:
            shown = text.replace("\n", "\u21b5").replace("$", r"\$") or "\u2022"
            if column + len(shown) > width:
                column, line = 0, line + 1
            if line >= LINES:
                break
            color = colormaps["viridis"](share / most)
            axis.text(
                column, -line, shown, family=["DejaVu Sans Mono", "DejaVu Sans"], fontsize=7.3, va="center",
                color="white" if share < 0.6 * most else "black",
                bbox={"facecolor": color, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
            column += len(shown)
    bar = figure.colorbar(ScalarMappable(Normalize(0, most), cmap="viridis"), ax=axes, shrink=0.5, aspect=30)
    bar.set_label("trained share of the token's choices", fontsize=8)
    return Figure(f"{NAME}_text", figure, "First tokens of a sample of every task (trained model), by trained share")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the section."""

    def prepare(measured: list[routing.Measured], options: argparse.Namespace, console: Console) -> list[Coverage]:
        with console.status("reading tokens"):
            return cover(NAME, options, measured)

    return routing.run(NAME, __doc__, section_of, arguments, prepare)


if __name__ == "__main__":
    sys.exit(main())
