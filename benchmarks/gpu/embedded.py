"""The embedded model at work on the device: its pretraining, and the comparison of strategies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.part import Context
from esft_lightning.embedded.pretraining_run import pretrain
from esft_lightning.embedded.pretraining_settings import Machine, Pretraining
from esft_lightning.embedded.tiny_model import Shape

_ROOT = Path(__file__).resolve().parents[2]


def measure_pretraining(context: Context) -> None:
    """Tokens a second of the embedded base's pretraining, in fp32 and under bf16 autocast."""
    scale = context.scale
    shape = Shape() if scale.published else Shape(layers=1, experts=8, top_k=2, expert_width=16, hidden=32, kv_rank=16)
    settings = Pretraining(
        steps=scale.pretraining_steps, batch_tokens=scale.pretraining_tokens, warm_up=1, opening=0, shape=shape,
        rate=6e-3 if scale.published else 3e-3,
    )  # fmt: skip
    workers = min(8, os.cpu_count() or 1) if scale.published else 0
    for precision in ("32-true", "bf16-mixed") if scale.published else ("32-true",):
        machine = Machine(context.accelerator, precision, workers, save_minutes=1e6, log_every=10)
        logged: list[tuple[int, float]] = []

        def note(line: str, logged: list[tuple[int, float]] = logged) -> None:
            if line.startswith("step "):
                logged.append((int(line.split()[1].partition("/")[0]), time.perf_counter()))

        started = time.perf_counter()
        record = pretrain(Path(context.folder) / precision, settings, machine, tell=note)
        speed = record["tokens_per_second"]  # with all that a start and a save take
        if len(logged) > 1:
            speed = settings.batch_tokens * (logged[-1][0] - logged[0][0]) / (logged[-1][1] - logged[0][1])
        context.row(
            precision=precision, steps=settings.steps, seconds=round(time.perf_counter() - started, 2),
            **{"tokens a step": settings.batch_tokens, "tokens/s": round(speed)}, loss=record["train_loss"],
        )  # fmt: skip
        context.outcome.true(f"{precision}: it ran on the device", record["accelerator"] == context.device.type)


def run_compare(context: Context) -> None:
    """`compare` as its users run it; every run says which device it had."""
    output = Path(context.folder) / "compare"
    command = [sys.executable, "-m", "esft_lightning", "compare", *context.scale.compare, "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    if not context.on_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    started = time.perf_counter()
    try:
        process = subprocess.run(
            command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=False,
            timeout=max(1.0, context.left),
        )  # fmt: skip
        ended, said = process.returncode == 0, f"exit code {process.returncode} {process.stderr[-300:]}".strip()
    except subprocess.TimeoutExpired:
        ended, said = False, "it was not over in its time"
    context.outcome.facts["seconds of the whole command"] = round(time.perf_counter() - started, 1)
    context.outcome.true("it ends without an error", ended, said)
    for path in sorted(output.rglob("result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        device = result["hardware"].get("device")
        name = result["spec"].get("strategy") or "base"
        context.row(
            run=f"{result['spec']['task']} {name}", status=result["status"], device=device,
            products=result["hardware"].get("expert_products", ""), seconds=result["seconds"].get("total", ""),
            **{"seconds a step": result["seconds"].get("step", "")},
        )  # fmt: skip
        context.outcome.true(
            f"{name} ran on the device", (result["status"], device) == ("finished", context.device.type),
            f"{result['status']} on {device}",
        )  # fmt: skip
    context.outcome.true("there are runs", bool(context.outcome.rows))
