"""What int8 for the frozen experts costs: loss and speed of the embedded model's training, with them and without.

    python -m benchmarks.quantised_experts

All runs train the same selected experts (those that the full base selects) on the same batches, from the same masters.
Steps are taken in turn, so that whatever else the machine does falls on all. A third run, on the full base, starts from
masters that are moved by a hundred-thousandth: how far its loss ends from the first is how far chance alone goes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

_TARGET = 0.01


def measure(task: str, steps: int, top_p: float) -> dict[str, Any]:
    """Train both ways.

    Args:
        task: A task of the embedded benchmark.
        steps: Optimizer steps.
        top_p: ESFT-Token's threshold.

    Returns:
        By `full`, `int8` and `nudged`: training loss of the last tenth of the steps, validation loss, seconds of a
        step, bytes of the base.
    """
    import torch

    import esft_lightning.data as tasks
    from esft_lightning.callbacks.affinity_profiler import measure_affinity
    from esft_lightning.loss import LabelledTokenLoss
    from esft_lightning.moe import load_model
    from esft_lightning.strategies import ESFTToken, trained_parameters

    data = getattr(tasks, f"{task.capitalize()}DataModule")(
        sequence_length=512, batch_size=2, on_overflow="next_row", cross_sample_attention=False
    )
    data.setup("fit")
    profile = measure_affinity(load_model("tiny", dtype="float32"), data.profile_dataloader(), token_budget=2**15)
    selection = ESFTToken(top_p=top_p).select(profile)
    runs: dict[str, Any] = {}
    for name, kept in (("full", None), ("int8", "int8"), ("nudged", None)):
        model = load_model("tiny", dtype="float32", quantize_experts=kept)  # type: ignore[arg-type]
        ESFTToken().apply(model, selection).train()
        if name == "nudged":
            with torch.no_grad():
                for value in trained_parameters(model).values():
                    value.mul_(1 + 1e-5 * torch.randn_like(value))
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


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 if no loss is more than one percent above the full run's; 1 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantised_experts", description="What int8 for frozen experts costs."
    )
    parser.add_argument("--tasks", nargs="+", default=["law", "intent"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--top-p", type=float, default=0.2)
    parser.add_argument("--output", type=Path, default=Path("runs/quantised_experts.json"))
    args = parser.parse_args(argv)
    found = {task: measure(task, args.steps, args.top_p) for task in args.tasks}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"steps": args.steps, "tasks": found}, indent=2) + "\n", encoding="utf-8")
    agree = True
    for task, runs in found.items():
        full = runs["full"]
        agree &= all(runs["int8"][key] <= (1 + _TARGET) * full[key] for key in ("train_loss", "val_loss"))
        for key in full:
            others = (f"{name} {runs[name][key] / full[key] - 1:+8.2%}" for name in ("int8", "nudged"))
            print(f"{task:<12}{key:<14}full {full[key]:>14.4f}   {'   '.join(others)}")
    print(f"no loss more than {_TARGET:.0%} above the full run's: {agree}; written: {args.output}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
