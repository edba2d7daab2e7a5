"""Train a model that memory suggests is too large: one copy of the weights, and what is selected, from load to resume.

    python -m benchmarks.large_model --shape olmoe_7b             # 6.92B parameters, bf16, 4 experts a layer
    python -m benchmarks.large_model --shape deepseek_v2_lite     # 15.7B, routed experts in int8, 1 expert a layer
    python -m benchmarks.large_model --shape olmoe_7b --scale small   # shows that it works, in under 3 GiB

A checkpoint of random weights is written a layer at a time, under the names of the hub. Then two processes of their own
run what `fit` runs: one loads, profiles, selects, trains, saves in the middle and writes an adapter; one resumes from
the saved checkpoint, and must come to the same losses. Peaks are the kernel's (VmHWM, mapped files included) per phase,
against

    weights + 16 bytes a trained parameter (fp32 master, gradient, two moments) + one layer's activations.

Random weights cost what trained ones do, except that their routers spread tokens evenly.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.large_checkpoint import SHAPES, LargeShape, have_checkpoint, scaled
from benchmarks.large_phases import run_phases
from benchmarks.own_process import in_a_process
from esft_lightning.command_parser import CommandParser
from esft_lightning.storage import atomic_write

_BYTES_PER_TRAINED = 16  # fp32 master, gradient, two moments
_TARGET = 1.05


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 if the peak is within the bound and the resumed run agrees; 1 otherwise.
    """
    parser = CommandParser(
        prog="python -m benchmarks.large_model", description="Train a model that memory suggests is too large."
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--scale", choices=("full", "small", "test"), default="full")
    parser.add_argument("--folder", type=Path, default=Path("runs/large_model"), help="place of everything written")
    parser.add_argument("--output", type=Path, help="JSON file of what was measured (default: in the folder)")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps; half of them again after resuming")
    parser.add_argument("--sequence", type=int, default=512, help="tokens of a step")
    parser.add_argument("--profile-tokens", type=int, default=2048)
    parser.add_argument("--experts", type=int, help="selected experts a layer, instead of the shape's")
    parser.add_argument("--quantize-experts", choices=("int8", "nf4", "none"), help="instead of the shape's way")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoint of random weights")
    args = parser.parse_args(argv)
    shape = scaled(SHAPES[args.shape], args.scale)
    if args.experts:
        shape = replace(shape, experts_per_layer=args.experts)
    if args.quantize_experts:
        quantisation = None if args.quantize_experts == "none" else args.quantize_experts
        shape = replace(shape, quantize_experts=quantisation)
    root = args.folder / shape.name
    base, runs = root / "base", root / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    try:
        parameters = have_checkpoint(shape, base)
        options = (args.steps, args.sequence, args.profile_tokens)
        first = in_a_process(run_phases, shape, base, runs, *options, None)
        resumed = in_a_process(run_phases, shape, base, runs / "resumed", *options, first["checkpoints"][0])
    finally:
        shutil.rmtree(runs, ignore_errors=True)
        if not args.keep:
            shutil.rmtree(base, ignore_errors=True)
    found = summary(shape, parameters, first, resumed)
    output = args.output or root / "result.json"
    atomic_write(output, (json.dumps(found, indent=2) + "\n").encode())
    print(_text(found))
    print(f"written: {output}")
    return 0 if found["within_bound"] and found["resumed_losses_equal"] else 1


def summary(shape: LargeShape, parameters: int, first: dict[str, Any], resumed: dict[str, Any]) -> dict[str, Any]:
    """What was measured, against the bound.

    Args:
        shape: Which model.
        parameters: How many it has.
        first: `run_phases` of the run that loads, trains and saves.
        resumed: `run_phases` of the one that goes on from its checkpoint.
    """
    needed = first["weights_bytes"] + _BYTES_PER_TRAINED * first["trained_parameters"] + first["activation_bytes"]
    peak = max(max(run["peak_bytes_by_phase"].values()) for run in (first, resumed))
    again = {step: first["losses"][step] for step in resumed["losses"]}
    seconds = sorted(first["step_seconds"][1:] or first["step_seconds"])
    return {
        "shape": shape.name,
        "quantize_experts": shape.quantize_experts,
        "parameters": parameters,
        "trained_parameters": first["trained_parameters"],
        "needed_bytes": needed,
        "peak_bytes": peak,
        "peak_over_needed": peak / needed,
        "peak_over_needed_without_libraries": (peak - first["baseline_bytes"]) / needed,
        "within_bound": peak <= _TARGET * needed,
        "step_seconds": seconds[len(seconds) // 2],
        "resumed_losses_equal": bool(again) and again == resumed["losses"],
        "first": first,
        "resumed": resumed,
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }


def _text(found: dict[str, Any]) -> str:
    """What was measured, for the terminal."""
    gigabytes = {
        "needed": found["needed_bytes"],
        "peak": found["peak_bytes"],
        **{f"  {phase}": size for phase, size in found["first"]["peak_bytes_by_phase"].items()},
        **{f"  resumed: {phase}": size for phase, size in found["resumed"]["peak_bytes_by_phase"].items()},
        "libraries before loading": found["first"]["baseline_bytes"],
    }
    lines = [f"{found['shape']}: {found['parameters']:,} parameters, {found['trained_parameters']:,} trained"]
    lines += [f"{name:<34}{size / 1e9:>8.2f} GB" for name, size in gigabytes.items()]
    lines.append(
        f"peak / needed {found['peak_over_needed']:.3f} (without libraries "
        f"{found['peak_over_needed_without_libraries']:.3f}), target {_TARGET}"
    )
    lines.append(f"step {found['step_seconds']:.1f} s; resumed losses equal: {found['resumed_losses_equal']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
