"""How long does it take to put an adapter on a model, or another in its place, against a memory copy of its bytes?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.shapes import OLMOE, build_model, make_batch, most_used, share_of, small
from esft_lightning.adapters import WEIGHTS_FILE, load_adapter, remove_adapter, save_adapter
from esft_lightning.adapters.adapter_set import AdapterSet
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import install_banks, model_fingerprint, remove_banks
from esft_lightning.moe.kept_memory import give_back_freed


def measure(dtype: str, *, quick: bool, threads: int) -> dict[str, Any]:
    """Measure on the OLMoE-like shape, 10 % of its experts.

    Args:
        dtype: `float32` or `bfloat16`.
        quick: Take a very small model, and few rounds.
        threads: Threads of torch.

    Returns:
        `bytes` of the adapter, and seconds of every round of `copy` (its bytes in one block, to fresh memory),
        `install`, `replace` (another one's place) and `switch` (both loaded already); and of what `install` cannot do
        without: `copy from the file` (its tensors, mapped, to fresh memory) and `fingerprint` (of the base, which is
        in no cache).
    """
    torch.set_num_threads(threads)
    shape = small(OLMOE) if quick else OLMOE
    model, batch = build_model(shape, getattr(torch, dtype)), make_batch(shape)
    fingerprint = model_fingerprint(model)
    selection = ExpertSelection(dict(most_used(model, batch, share_of(shape, 0.1))))
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("one", "two")]
        made = install_banks(model, selection.experts)
        for place in places:
            save_adapter(
                model, place, strategy="ESFTToken", base=shape.name, base_fingerprint=fingerprint, selection=selection
            )
        parameters = [p.detach().to(getattr(torch, dtype)) for bank in made.values() for p in bank.parameters()]
        # One block is too large for the C library to keep when it is freed: every copy goes to fresh pages.
        block = torch.cat([parameter.reshape(-1) for parameter in parameters])
        del parameters
        remove_banks(model)
        seconds: dict[str, list[float]] = {}
        for turn in range(3 if quick else 22):
            taken = {
                "copy": _timed(block.clone),
                "install": _timed(lambda: load_adapter(model, places[0])),
                "replace": _timed(lambda: load_adapter(model, places[1])),
            }
            remove_adapter(model)
            # Last, as both would bring into the caches what installing reads.
            taken["copy from the file"] = _timed(lambda: _copied(places[0] / WEIGHTS_FILE))
            taken["fingerprint"] = _timed(lambda: model_fingerprint(model))
            if turn > 1:
                for name, value in taken.items():
                    seconds.setdefault(name, []).append(value)
        adapters = AdapterSet(model)
        for name, place in zip(("one", "two"), places, strict=True):
            adapters.load(name, place)
        seconds["switch"] = [
            _timed(lambda name=name: adapters.use(name)) for name in ("one", "two") * len(seconds["copy"])
        ][: len(seconds["copy"])]
    return {"dtype": dtype, "bytes": block.nbytes, **seconds}


def _copied(path: Path) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in load_file(path).values()]


def _timed(action: Callable[[], Any]) -> float:
    """Seconds of a call that finds no freed memory to write to: whatever it makes goes to fresh pages."""
    give_back_freed()
    started = time.perf_counter()
    kept = action()
    taken = time.perf_counter() - started
    del kept
    return taken
