"""The embedded tiny model and the scripts that made it.

``tiny/`` is an ordinary Transformers folder: configuration, weights (bf16), tokenizer and the record of the
pretraining run (``PRETRAINING.json``, ``losses.csv``). Nothing here is imported by the rest of the library besides
the path; the scripts are run as ``python -m esft_lightning.assets.train_tokenizer`` and
``python -m esft_lightning.assets.pretrain``.
"""

from pathlib import Path

__all__ = ["TINY"]

TINY = Path(__file__).parent / "tiny"
"""Folder of the embedded tiny model and its tokenizer."""
