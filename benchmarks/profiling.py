"""What does the profiling pass cost over a plain forward pass of the same batches?"""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.shapes import build_model, make_batch, shape_of
from esft_lightning.moe import find_decoder
from esft_lightning.profiling.measurement import measure_affinity


def measure(shape_name: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure both in turn, in one process.

    Args:
        shape_name: `tiny` or `olmoe`.
        quick: Take a very small model, and few rounds.
        threads: Threads of torch.

    Returns:
        `plain` and `profile`: seconds of each round.
    """
    torch.set_num_threads(threads)
    shape = shape_of(shape_name, quick)
    model = build_model(shape).eval()
    # The embedded model reads half of what its runs profile; a pass of the larger shape is long enough as it is.
    batches = [make_batch(shape, seed) for seed in range(2 if quick else 16 if shape_name == "tiny" else 4)]
    decoder = find_decoder(model)

    def plain() -> None:
        with torch.no_grad():
            for batch in batches:
                decoder(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)

    def profile() -> None:
        measure_affinity(model, batches, token_budget=10**9)

    seconds: dict[str, list[float]] = {"plain": [], "profile": []}
    for turn in range(3 if quick else 22):
        for name, run in (("plain", plain), ("profile", profile))[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            run()
            if turn > 1:
                seconds[name].append(time.perf_counter() - started)
    return {"shape": shape_name, "tokens": shape.tokens * len(batches), **seconds}
