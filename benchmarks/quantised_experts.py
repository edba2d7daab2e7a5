"""What fewer bits for the frozen experts cost: loss and speed of the embedded model's training, with them and without.

    python -m benchmarks.quantised_experts

All runs of a seed train the same selected experts (those that the full base selects) on the same batches, from the
same masters. Steps are taken in turn, so that whatever else the machine does falls on all. A last run, on the full
base, starts from masters that are moved by a hundred-thousandth: how far its loss ends from the first is how far
chance alone goes. A seed decides the order of the batches, which rows validate, and how masters are moved.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esft_lightning.command_parser import CommandParser
from esft_lightning.storage import atomic_write

_TARGET = 0.01
_ROWS = 4000  # all that a task of the embedded benchmark has


def measure(task: str, steps: int, top_p: float, seed: int, rows: int = _ROWS) -> dict[str, Any]:
    """Train both ways.

    Args:
        task: A task of the embedded benchmark.
        steps: Optimizer steps.
        top_p: ESFT-Token's threshold.
        seed: Of the batches, the validation rows and the moved masters.
        rows: Training rows; a twentieth as many validate.

    Returns:
        By `full`, `int8`, `nf4` and `nudged`: training loss of the last tenth of the steps, validation loss, seconds of
        a step, bytes of the base.
    """
    import torch

    from esft_lightning import tasks
    from esft_lightning.moe import load_model
    from esft_lightning.moe.loss import LabelledTokenLoss
    from esft_lightning.profiling.measurement import measure_affinity
    from esft_lightning.strategies import ESFTToken, trained_parameters

    data = getattr(tasks, f"{task.capitalize()}DataModule")(
        sequence_length=512, batch_size=2, on_overflow="next_row", cross_sample_attention=False, seed=seed,
        train_rows=rows, val_rows=max(1, rows // 20),
    )  # fmt: skip
    data.setup("fit")
    profile = measure_affinity(load_model("tiny", dtype="float32"), data.profile_dataloader(), token_budget=2**15)
    selection = ESFTToken(top_p=top_p).select(profile)
    generator = torch.Generator().manual_seed(seed)
    runs: dict[str, Any] = {}
    for name, kept in (("full", None), ("int8", "int8"), ("nf4", "nf4"), ("nudged", None)):
        model = load_model("tiny", dtype="float32", quantize_experts=kept)  # type: ignore[arg-type]
        ESFTToken().apply(model, selection).train()
        if name == "nudged":
            with torch.no_grad():
                for value in trained_parameters(model).values():
                    value.mul_(1 + 1e-5 * torch.randn(value.shape, generator=generator))
        rate = 3e-3  # ESFT's 1e-5 times the embedded model's scale
        optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=rate, betas=(0.9, 0.95), fused=True)
        runs[name] = {"model": model, "loss": LabelledTokenLoss(model), "optimizer": optimizer, "of": [], "seconds": []}
    batches = _batches(data)
    for _ in range(steps):
        batch = next(batches)
        for run in runs.values():
            started = time.perf_counter()
            loss = run["loss"](batch)
            mean = loss.total / loss.tokens
            mean.backward()
            run["optimizer"].step()
            run["optimizer"].zero_grad()
            run["seconds"].append(time.perf_counter() - started)
            run["of"].append(float(mean.detach()))
    found = {}
    for name, run in runs.items():
        held = [*run["model"].named_parameters(), *run["model"].named_buffers()]
        found[name] = {
            "train_loss": statistics.fmean(run["of"][-max(1, steps // 10) :]),
            "val_loss": _validation_loss(run, data),
            "step_seconds": statistics.median(run["seconds"]),
            "base_bytes": sum(value.nbytes for key, value in held if ".trained_bank." not in key),
        }
    return found


def _batches(data: Any) -> Any:
    """Training batches, epoch after epoch."""
    loader, epoch = data.train_dataloader(), 0
    while True:
        yield from loader
        epoch += 1
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(epoch)


def _validation_loss(run: dict[str, Any], data: Any) -> float:
    import torch

    total = tokens = 0.0
    with torch.no_grad():
        for batch in data.val_dataloader():
            loss = run["loss"](batch)
            total, tokens = total + float(loss.total), tokens + float(loss.tokens)
    return total / tokens


def differences(runs: Sequence[Mapping[str, Any]], name: str, key: str) -> tuple[float, float]:
    """How far a run's figure is from the full one's of the same seed.

    Args:
        runs: What `measure` gives, for each seed.
        name: `int8`, `nf4` or `nudged`.
        key: The figure.

    Returns:
        Mean over seeds of the difference, relative to the full run's, and its standard error (0 for one seed).
    """
    found = [run[name][key] / run["full"][key] - 1 for run in runs]
    return statistics.fmean(found), statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 if no loss over int8 is more than one percent from the full run's, in the mean over seeds; 1 otherwise.
    """
    parser = CommandParser(
        prog="python -m benchmarks.quantised_experts", description="What fewer bits for frozen experts cost."
    )
    parser.add_argument("--tasks", nargs="+", default=["summary", "translation"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind (%(default)s)")
    parser.add_argument("--top-p", type=float, default=0.2)
    parser.add_argument("--rows", type=int, default=_ROWS, help="training rows (%(default)s); a twentieth validate")
    parser.add_argument("--output", type=Path, default=Path("runs/quantised_experts.json"))
    args = parser.parse_args(argv)
    found: dict[str, list[dict[str, Any]]] = {task: [] for task in args.tasks}
    agree = True
    for task, runs in found.items():
        for seed in range(args.seeds):
            runs.append(measure(task, args.steps, args.top_p, seed, args.rows))
            content = {"steps": args.steps, "tasks": found}
            atomic_write(args.output, (json.dumps(content, indent=1) + "\n").encode())
        for key in runs[0]["full"]:
            by_name = {name: differences(runs, name, key) for name in ("int8", "nf4", "nudged")}
            if key.endswith("_loss"):
                agree &= abs(by_name["int8"][0]) <= _TARGET
            full = statistics.fmean(run["full"][key] for run in runs)
            others = "   ".join(f"{name} {mean:+8.2%} ± {error:.2%}" for name, (mean, error) in by_name.items())
            print(f"{task:<12}{key:<14}full {full:>14.4f}   {others}", flush=True)
    print(f"losses over int8 within {_TARGET:.0%} of the full run's, mean of {args.seeds} seeds: {agree}")
    print(f"written: {args.output}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
