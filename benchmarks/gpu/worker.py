"""The process that runs parts, one after another, and says over a pipe what each has found so far."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
import time
import traceback
import warnings
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.gpu.part import PARTS, Context, Outcome, SkippedError
from benchmarks.gpu.scale import SCALES


def work(names: list[str], accelerator: str, scale: str, share: float, deadline: float, line: Connection) -> None:
    """Run parts; the target of the process.

    A device that no longer answers ends the process: whoever started it goes on with another.

    Args:
        names: The parts, in order.
        accelerator: As Lightning names it.
        scale: Name of the sizes.
        share: Of each part's time, how much there is.
        deadline: When all of it has to be over, by `time.time`.
        line: Gets `("begins", name)`, `("so far", name, outcome)` and `("ended", name, result)`.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from lightning.fabric import Fabric

    _quiet()
    device = Fabric(accelerator=accelerator, devices=1).device
    gc.collect()
    gc.freeze()  # the libraries' own objects are not looked through again after every measurement
    known = {part.name: part for part in PARTS}
    for name in names:
        part = known[name]
        line.send(("begins", name))
        with tempfile.TemporaryDirectory() as folder:
            outcome = Outcome()
            context = Context(
                device, device.type, SCALES[scale], Path(folder), outcome,
                min(part.seconds * share, deadline - time.time()),
                save=lambda name=name, outcome=outcome: line.send(("so far", name, vars(outcome))),
            )  # fmt: skip
            started = time.monotonic()
            result: dict[str, Any] = {"status": "passed"}
            torch.manual_seed(0)
            try:
                getattr(import_module(f"benchmarks.gpu.{part.module}"), part.function)(context)
            except SkippedError as error:
                result = {"status": "skipped", "reason": str(error)}
            except Exception as error:
                result = {"status": "failed", "reason": _line(error), "traceback": traceback.format_exc()}
            if outcome.failed and result["status"] != "failed":
                result = {"status": "failed", "reason": "; ".join(outcome.failed)}
            line.send(("ended", name, {**result, "seconds": time.monotonic() - started, **vars(outcome)}))
        _clear(device)
    line.send(("over",))


def _clear(device: Any) -> None:
    """Forget the part's memory; an error here means that the device is lost to this process."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def _line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}"


def _quiet() -> None:
    """Let the parts alone be printed."""
    from transformers.utils.logging import disable_progress_bar

    import esft_lightning.training.module  # noqa: F401  (importing Lightning sets the level of its loggers)

    disable_progress_bar()
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("esft_lightning").setLevel(logging.ERROR)
