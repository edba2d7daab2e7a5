"""The embedded tiny MoE and its tokenizer. `pretrain.py` beside this file made the weights."""

from pathlib import Path

TINY_FOLDER = Path(__file__).parent / "tiny"
"""Folder of the embedded model: what the name `tiny` stands for wherever a base model is asked for."""
