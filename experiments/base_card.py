"""The model card of an embedded base: what it is, what it read, how it was made, what it can and cannot do.

    python -m experiments.base_scores --base runs/base --allow-code-execution
    python -m experiments.routing_nulls --base runs/base --output runs/base_scores/base
    python -m experiments.base_card runs/base

writes ``README.md`` into the base's folder, from the record of its pretraining and from what these two commands left in
``runs/base_scores/NAME``. Every number comes from those files; a measurement that was not made is named with its
command.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from esft_lightning.embedded.corpus import OPENING
from esft_lightning.embedded.tiny_model import Shape
from esft_lightning.errors import FileError, UserError
from esft_lightning.storage import atomic_write
from experiments import base_scores
from experiments.base_scores import TaskScores

RECORD = "PRETRAINING.json"
_HEAD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [mixture-of-experts, deepseek_v2, synthetic, tiny]
license: mit
---

# A tiny Mixture-of-Experts base

A DeepSeek-V2 model of {parameters:,} parameters, pretrained on an invented world, for trying expert-specialized
fine-tuning on a laptop. It knows nothing of the real world but some Python, and is of no use for anything else.
"""
_LIMITS = """## What it cannot do

It has read {tokens:.0f} million tokens of generated text and some of Python's own source and documentation. It does not
know the world, holds no conversation, and copies, looks up and calculates only as well as the tables above say. Names
and facts in it are invented; any likeness to persons is chance. Scores on its tasks compare ways of fine-tuning with
one another, on this model; they say nothing about models of another size.
"""


def read_json(path: Path, command: str) -> Any:
    """A JSON file.

    Args:
        path: The file.
        command: What makes it.

    Raises:
        FileError: It is not there, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}; {command} makes it") from error
    except ValueError as error:
        raise FileError(f"{path}: not JSON ({error}); {command} makes it anew") from error


def command_of(record: Mapping[str, Any]) -> str:
    """The command that makes a base with these settings again."""
    words = ["python", "-m", "esft_lightning.embedded.pretrain", "--output", "FOLDER", "--tokenizer", "TOKENIZER"]
    words += ["--steps", str(record["steps"]), "--seed", str(record["seed"])]
    plain = Shape()
    for size in fields(Shape):
        if record["shape"][size.name] != getattr(plain, size.name):
            words += [f"--{size.name.replace('_', '-')}", str(record["shape"][size.name])]
    for name in ("batch_tokens", "rate", "matrix_rate", "warm_up", "opening", "decay"):
        words += [f"--{name.replace('_', '-')}", f"{record[name]:g}"]
    return shlex.join(words)


def made(record: Mapping[str, Any]) -> str:
    """Shape, length, time and losses."""
    shape = Shape(**record["shape"])
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    rows = {
        "architecture": f"DeepSeek-V2: a dense layer and {shape.layers} MoE layers, {shape.experts} routed experts of "
        f"width {shape.expert_width} (top {shape.top_k}) and a shared one, hidden size {shape.hidden}, {shape.heads} "
        f"heads of {shape.head_width}; weights in bf16",
        "length": f"{record['step']:,} steps of {record['batch_tokens']:,} tokens, "
        f"{record['tokens'] / 1e6:.1f} million",
        "time": f"{record['processor_hours']:.1f} processor-hours, {record['tokens_per_processor_second']:,} tokens a "
        f"processor-second ({record['accelerator']})",
        "training loss at the end": f"{record['train_loss']:.2f} nats a token",
        "balancing loss": f"{record['balance']:g}, over the whole batch",
        "corpus, tokenizer": f"{record['corpus']}, {record['tokenizer']} (digests)",
        "versions": versions,
    }
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(["## How it was made", "", f"```bash\n{command_of(record)}\n```", "", *table])


def read(record: Mapping[str, Any]) -> str:
    """The mixture, and the held-out loss of each domain."""
    lines = [
        "## What it read",
        "",
        f"Shares of the tokens in the opening ({record['opening']:,} steps), in between, and in the instruction stage "
        f"(the last {record['decay']:.0%} of the run); loss on text that was held out, nats a token.",
        "",
        "| domain | opening | between | stage | held-out loss |",
        "|---|---:|---:|---:|---:|",
    ]
    for domain, share in record["mixture"].items():
        shares = (OPENING.get(domain, 0.0), share, record["instruction_stage"][domain])
        cells = " | ".join(f"{value:.0%}" if value else "–" for value in shares)
        lines.append(f"| {domain} | {cells} | {record['held_out_loss'][domain]:.2f} |")
    return "\n".join(lines)


def can(place: Path) -> str:
    """Scores of the six tasks, general ability and in-context ability."""
    path = place / "base_scores.json"
    if not path.exists():
        return f"## What it can do\n\nNot measured: `python -m experiments.base_scores` writes `{path.name}`."
    kept = read_json(path, "python -m experiments.base_scores")
    _, rows, split = kept["of"]
    tasks = [name.removesuffix(" rote") for name in kept if name.endswith(" rote")]
    scores = []
    for task in tasks:
        shots = {int(name.split()[1]): values for name, values in kept.items() if name.split()[0] == task and
                 name.split()[1].isdigit()}  # fmt: skip
        scores.append(TaskScores(task, kept[f"{task} rote"], dict(sorted(shots.items()))))
    asked = f"{rows} {split} rows of each task, scores 0–100 with 95 % intervals over rows."
    return f"## What it can do\n\n{asked}\n\n{base_scores.table(scores, kept['abilities']).strip()}"


def routing(place: Path) -> str:
    """Whether its routing means something."""
    path = place / "routing_nulls.json"
    if not path.exists():
        return f"## Routing\n\nNot measured: `python -m experiments.routing_nulls` writes `{path.name}`."
    lines = [
        "## Routing",
        "",
        "Beside the draws of two nulls; *above* all draws happens by chance once in twenty.",
        "",
        "| statistic | base | null | median | least to most | base is |",
        "|---|---:|---|---:|---:|---|",
    ]
    for entry in read_json(path, "python -m experiments.routing_nulls"):
        drawn = entry["drawn"]
        lines.append(
            f"| {entry['statistic']} | {entry['trained']:.3f} | {entry['null']} | {np.median(drawn):.3f} | "
            f"{min(drawn):.3f} to {max(drawn):.3f} | {entry['verdict']} |"
        )
    return "\n".join(lines)


def card(folder: Path, measured: Path) -> str:
    """The whole card.

    Args:
        folder: The base's folder, with its record.
        measured: Where scores and nulls lie.

    Raises:
        FileError: There is no record, or it is of an unfinished run or of another form.
    """
    record = read_json(folder / RECORD, "python -m esft_lightning.embedded.pretrain")
    if not record.get("finished"):
        raise FileError(f"{folder / RECORD}: the run is not finished; go on with its pretrain command")
    if missing := [name for name in ("shape", "mixture", "instruction_stage", "corpus") if name not in record]:
        raise FileError(f"{folder / RECORD}: no {missing[0]}; the record is of an older form, so pretrain anew")
    parts = [_HEAD.format(parameters=record["parameters"]).strip(), can(measured), read(record), routing(measured)]
    return "\n\n".join([*parts, made(record), _LIMITS.format(tokens=record["tokens"] / 1e6).strip()]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the card."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.base_card", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, help="folder of the base")
    parser.add_argument("--measured", type=Path, help="folder of scores and nulls (default: runs/base_scores/NAME)")
    options = parser.parse_args(arguments)
    try:
        text = card(options.folder, options.measured or Path("runs/base_scores") / options.folder.name)
    except UserError as error:
        print(f"base_card: {error}", file=sys.stderr)
        return 2
    atomic_write(options.folder / "README.md", text.encode())
    print(options.folder / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
