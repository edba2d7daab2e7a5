"""Write Lightning's checkpoints straight to disk.

Lightning makes the whole file in memory first, which for what is trained and its optimizer state is 12 bytes a trained
parameter: as much again as training itself holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class DirectCheckpointIO(TorchCheckpointIO):
    """Lightning's own reader and writer, except that a local file is written as it is made, and appears whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning collected.
            path: The file; a remote one (`s3://…`) is left to Lightning.
            storage_options: Not supported, as in Lightning.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        try:
            torch.save(checkpoint, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
