"""The folder of a pretraining run: a Transformers model folder at any time, and what a stopped run goes on from.

==================================  ==================================================================================
``config.json``, …                  the model as it was when last saved, weights in bf16, and its tokenizer
``PRETRAINING.json``                the record: settings, tokens, losses, versions
``losses.csv``                      held-out loss of every domain at every save
``progress.json``                   step, loss and speed at every log line
``state.pt``                        fp32 weights and optimizer: where the run goes on
``trunk/STEP.pt``                   the same at steps where shorter or longer runs branch off
==================================  ==================================================================================

Every file is written whole or not at all, and the state last, so that a run killed at any moment goes on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import DeepseekV2ForCausalLM
from transformers.utils import logging

from esft_lightning.storage import atomic_write, whole_file, whole_files

__all__ = ["RunFolder"]


class RunFolder:
    """The folder of one run.

    Attributes:
        path: Where it lies.
    """

    def __init__(self, path: Path):
        self.path = path

    def state(self) -> dict[str, Any] | None:
        """The run's state as last saved; None before the first save."""
        return self._read(self.path / "state.pt")

    def trunk_state(self, latest: int) -> dict[str, Any] | None:
        """The last kept state at or before step `latest`; None where there is none."""
        steps = [int(path.stem) for path in (self.path / "trunk").glob("*.pt") if int(path.stem) <= latest]
        return self._read(self.path / "trunk" / f"{max(steps)}.pt") if steps else None

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def record(self) -> dict[str, Any]:
        """The record as last saved."""
        return json.loads((self.path / "PRETRAINING.json").read_text(encoding="utf-8"))

    def progress(self, facts: dict[str, Any]) -> None:
        """Say how far the run is."""
        atomic_write(self.path / "progress.json", (json.dumps(facts, indent=1) + "\n").encode())

    def save(self, model: Any, tokenizer: Any, record: dict[str, Any], state: dict[str, Any], *, keep: bool) -> None:
        """Write everything; with `keep`, the state once more under its step."""
        weights = {name: tensor.detach().to("cpu", torch.bfloat16) for name, tensor in model.state_dict().items()}
        with torch.device("meta"):
            shell = DeepseekV2ForCausalLM(model.config)
        with whole_files(self.path) as scratch, _no_progress_bar():
            shell.bfloat16().save_pretrained(scratch, state_dict=weights)
            tokenizer.save_pretrained(scratch)
        atomic_write(self.path / "losses.csv", _table(state["history"]))
        atomic_write(self.path / "PRETRAINING.json", (json.dumps(record, indent=1) + "\n").encode())
        places = [self.path / "trunk" / f"{state['step']}.pt"] if keep else []
        for place in (*places, self.path / "state.pt"):
            with whole_file(place) as temporary:
                torch.save(state, temporary)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    yield
    if shown:
        logging.enable_progress_bar()


def _table(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
