"""How fast the candidates for the embedded base are: tokens a processor-second, measured in turns."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.shape_rule import CANDIDATES
from esft_lightning.storage import atomic_write

BATCH_TOKENS = 3072
"""Tokens of a step."""


def measure_speeds(output: Path, folder: Path, rounds: int = 5, steps: int = 4) -> dict[str, float]:
    """Tokens a processor-second of every candidate, measured in turns; kept, so that they are measured once."""
    import torch
    from transformers import AutoTokenizer

    from esft_lightning.embedded.packed_rows import LENGTHS, PackedRows
    from esft_lightning.embedded.pretraining_rows import encoder
    from esft_lightning.embedded.pretraining_run import make_optimizers
    from esft_lightning.embedded.tiny_model import PretrainingLoss, new_model, tiny_config

    path = output / "speeds.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = PackedRows(encoder(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id, batch_tokens=BATCH_TOKENS)
    by_length: dict[int, Any] = {}
    for number, plan in enumerate(rows.plan(200)):  # one batch of every row length, weighed as runs have them
        if plan.length not in by_length:
            by_length[plan.length] = torch.from_numpy(rows.step(number, plan))
    losses = {name: PretrainingLoss(new_model(tiny_config(tokenizer, shape), 0)) for name, shape in CANDIDATES.items()}
    optimizers = {name: make_optimizers(loss.model) for name, loss in losses.items()}
    seconds: dict[str, dict[int, list[float]]] = {name: {length: [] for length in by_length} for name in CANDIDATES}
    for turn in range(rounds + 1):
        for name, loss in losses.items():
            for length, ids in by_length.items():
                started = time.process_time()
                for _ in range(max(1, steps // 4) if length != 512 else steps):
                    loss(ids)[0].backward()
                    for optimizer in optimizers[name]:
                        optimizer.step()
                        optimizer.zero_grad(set_to_none=True)
                taken = (time.process_time() - started) / (max(1, steps // 4) if length != 512 else steps)
                if turn:  # the first round warms up
                    seconds[name][length].append(taken)
    speeds = {
        name: round(BATCH_TOKENS / sum(LENGTHS[length] * statistics.median(taken) for length, taken in by.items()), 1)
        for name, by in seconds.items()
    }
    atomic_write(path, (json.dumps(speeds, indent=1) + "\n").encode())
    return speeds
