"""The embedded tiny model and the scripts that made it.

``tiny/`` is an ordinary Transformers folder: configuration, weights (bf16), tokenizer and the record of the
pretraining run (``PRETRAINING.json``, ``losses.csv``). Nothing here is imported by the rest of the library besides
names and places; the scripts are run as ``python -m esft_lightning.embedded.train_tokenizer`` and
``python -m esft_lightning.embedded.pretrain``.

``tiny@500`` names the same model pretrained for 500 steps only. Such models are not shipped: the pretraining script
makes them below `PRETRAINED`, and `experiments.scale` asks how the strategies compare on them.
"""

import os
import re
from pathlib import Path

__all__ = ["PRETRAINED", "TINY", "is_embedded", "model_folder", "model_source", "pretraining_steps"]

TINY = Path(__file__).parent / "tiny"
"""Folder of the embedded tiny model and its tokenizer."""
PRETRAINED = Path(os.environ.get("ESFT_LIGHTNING_HOME") or Path.home() / ".cache" / "esft_lightning")
"""Where the shorter pretrained models lie, one folder each; the environment variable ESFT_LIGHTNING_HOME moves it."""
_SHORTER = re.compile(r"tiny@([1-9]\d*)")


def pretraining_steps(base: str) -> int | None:
    """The number of pretraining steps that a name such as `tiny@500` asks for; None for any other base."""
    match = _SHORTER.fullmatch(base)
    return int(match[1]) if match else None


def is_embedded(base: str) -> bool:
    """Whether a base is the embedded architecture: `tiny`, or `tiny@STEPS`."""
    return base == "tiny" or pretraining_steps(base) is not None


def model_folder(base: str) -> Path | None:
    """The folder of `tiny` or `tiny@STEPS`; None for any other base.

    Raises:
        FileNotFoundError: A shorter pretrained model that has not been made here, with the command that makes it.
    """
    if base == "tiny":
        return TINY
    steps = pretraining_steps(base)
    if steps is None:
        return None
    folder = PRETRAINED / base
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{base}: {folder} has no model; make it with `python -m esft_lightning.embedded.pretrain --steps {steps} "
            f"--output '{folder}'`"
        )
    return folder


def model_source(base: str | Path) -> str:
    """What Transformers loads for a base: the folder of an embedded model, or the folder or hub id itself.

    Raises:
        FileNotFoundError: As `model_folder`.
    """
    return str(model_folder(str(base)) or base)
