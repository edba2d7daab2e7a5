"""Which shape should the embedded base have? Candidates pretrained at the same cost.

    nice -n 19 python -m benchmarks.base_shapes --output runs/base_shapes --jobs 2

Every candidate is pretrained for 1.6 processor-hours (its measured speed decides how many tokens that is), rate
decayed to zero, instruction stage included; the two best get a second seed. Given again, the command goes on where it
was stopped. ``progress.json`` in the output folder says how far it is, ``table.md`` and ``table.json`` hold the
outcome.

The rule is in :mod:`benchmarks.shape_rule`. No fine-tuning result enters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.shape_rule import CANDIDATES, HOURS, Outcome, best_two, eligible, table
from benchmarks.shape_speeds import BATCH_TOKENS, measure_speeds
from esft_lightning.command_parser import CommandParser
from esft_lightning.embedded import TINY
from esft_lightning.errors import UserError
from esft_lightning.storage import atomic_write


def _steps(speed: float, hours: float) -> int:
    return max(2, round(speed * hours * 3600 / BATCH_TOKENS))


def _folder(output: Path, shape: str, seed: int) -> Path:
    return output / f"{CANDIDATES[shape]}-seed{seed}"


def run(output: Path, shape: str, seed: int, speed: float, hours: float, tokenizer: Path) -> Outcome:
    """Pretrain one shape with one seed in a process of its own and score it; what is done is not done again."""
    folder = _folder(output, shape, seed)
    scores = folder / "outcome.json"
    if not scores.exists():
        sizes = [part for name, value in asdict(CANDIDATES[shape]).items() for part in (_option(name), str(value))]
        command = [sys.executable, "-m", "esft_lightning.embedded.pretrain", "--output", str(folder)]
        command += ["--seed", str(seed), "--steps", str(_steps(speed, hours)), "--batch-tokens", str(BATCH_TOKENS)]
        _call(
            [
                *command,
                *sizes,
                "--tokenizer",
                str(tokenizer),
                "--accelerator",
                "cpu",
                "--threads",
                "1",
                "--workers",
                "1",
            ],
            folder,
        )
        _call([sys.executable, "-m", "benchmarks.base_shapes", "--score", str(folder), shape, str(seed)], folder)
    return Outcome(**json.loads(scores.read_text(encoding="utf-8")))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _call(command: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=log, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if code.returncode:
        raise UserError(f"base_shapes: {folder.name} ended with exit code {code.returncode}; see {folder / 'log.txt'}")


def score(folder: Path, shape: str, seed: int) -> None:
    """Score a pretrained model and write its outcome beside it."""
    import torch

    from esft_lightning.evaluation.in_context import in_context_ability
    from esft_lightning.moe import load_model
    from esft_lightning.moe.loading import load_tokenizer
    from experiments.routing import REDRAWN
    from experiments.routing_nulls import measure

    torch.set_num_threads(1)
    record = json.loads((folder / "PRETRAINING.json").read_text(encoding="utf-8"))
    ability = in_context_ability(load_model(str(folder), dtype="float32"), load_tokenizer(str(folder)))
    own = next(entry for entry in measure(str(folder)) if entry.statistic == "own share" and entry.null == REDRAWN)
    shipped = ("model.safetensors", "tokenizer.json", "config.json")
    outcome = Outcome(
        shape=shape,
        seed=seed,
        tokens=record["tokens"],
        processor_hours=record["processor_hours"],
        parameters=record["parameters"],
        bytes=sum((folder / name).stat().st_size for name in shipped),
        gain=ability.gain,
        scores=ability.scores,
        baselines=ability.baselines,
        rows=ability.rows,
        own_share=own.trained - max(own.drawn),
        loss=statistics.mean(record["held_out_loss"].values()),
    )
    atomic_write(folder / "outcome.json", json.dumps(asdict(outcome)).encode())


def run_all(output: Path, jobs: int, hours: float, tokenizer: Path) -> tuple[list[Outcome], dict[str, float]]:
    """Run every candidate, then the second seeds of the two best."""
    speeds = measure_speeds(output, tokenizer)
    done = threading.Event()
    threading.Thread(target=_keep_watch, args=(output, done), daemon=True).start()
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda shape: run(output, shape, 0, speeds[shape], hours, tokenizer), CANDIDATES))
        write_table(output, outcomes, speeds)
        two = best_two(outcomes, eligible(speeds, {entry.shape: entry.bytes for entry in outcomes}))
        outcomes += list(pool.map(lambda shape: run(output, shape, 1, speeds[shape], hours, tokenizer), two))
    done.set()
    return outcomes, speeds


def _keep_watch(output: Path, done: threading.Event) -> None:
    """Write `progress.json` every half minute."""
    while not done.wait(30):
        atomic_write(output / "progress.json", (json.dumps(watch(output), indent=1) + "\n").encode())


def write_table(output: Path, outcomes: Sequence[Outcome], speeds: Mapping[str, float]) -> None:
    """Write `table.md` and `table.json`."""
    atomic_write(output / "table.md", table(outcomes, speeds).encode())
    values = {"speeds": dict(speeds), "outcomes": [asdict(entry) for entry in outcomes]}
    atomic_write(output / "table.json", (json.dumps(values, indent=1) + "\n").encode())


def watch(output: Path) -> dict[str, Any]:
    """How far every run is, as their own progress files say."""
    runs = {}
    for path in sorted(output.glob("*/progress.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        runs[path.parent.name] = facts | {"scored": (path.parent / "outcome.json").exists()}
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, write the table, print it."""
    parser = CommandParser(
        prog="python -m benchmarks.base_shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("runs/base_shapes"), help="folder (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time, a core each (%(default)s)")
    parser.add_argument("--hours", type=float, default=HOURS, help="processor-hours of a run (%(default)s)")
    parser.add_argument("--tokenizer", type=Path, default=TINY, help="folder of the tokenizer (%(default)s)")
    parser.add_argument("--speeds", action="store_true", help="measure the candidates' speed and leave")
    parser.add_argument("--progress", action="store_true", help="say how far the runs are and leave")
    parser.add_argument("--score", nargs=3, metavar=("FOLDER", "SHAPE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.score:
            score(Path(options.score[0]), options.score[1], int(options.score[2]))
        elif options.progress:
            print(json.dumps(watch(options.output), indent=1))
        elif options.speeds:
            print(json.dumps(measure_speeds(options.output, options.tokenizer), indent=1))
        else:
            outcomes, speeds = run_all(options.output, options.jobs, options.hours, options.tokenizer)
            write_table(options.output, outcomes, speeds)
            print(table(outcomes, speeds))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
