"""Write a model's tensors in safetensors files of bounded size, as they come."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from esft_lightning.moe.weight_files import INDEX_FILE


class ShardedWriter:
    """Collects tensors until a shard is full, writes it, forgets it.

    Attributes:
        max_shard_bytes: Bytes of a shard at most; a larger tensor has a shard of its own.
        total_bytes: Bytes of all tensors so far.
    """

    def __init__(self, folder: Path, max_shard_bytes: int) -> None:
        """Write into a folder that exists.

        Args:
            folder: The folder.
            max_shard_bytes: Bytes of a shard at most.

        Raises:
            ValueError: If no byte would fit.
        """
        if max_shard_bytes < 1:
            raise ValueError(f"a shard must hold at least one byte, got {max_shard_bytes}")
        self.max_shard_bytes = max_shard_bytes
        self.total_bytes = 0
        self._folder = folder
        self._held: dict[str, Tensor] = {}
        self._held_bytes = 0
        self._shards: list[list[str]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor; the shard before it is written where it would not fit."""
        size = tensor.numel() * tensor.element_size()
        if self._held and self._held_bytes + size > self.max_shard_bytes:
            self._write()
        self._held[name] = tensor.contiguous()
        self._held_bytes += size
        self.total_bytes += size

    def close(self) -> None:
        """Write the last shard, and give all their names, with an index where there are several."""
        if self._held:
            self._write()
        count = len(self._shards)
        names = (
            ["model.safetensors"]
            if count == 1
            else [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
        )
        for number, name in enumerate(names):
            self._temporary(number).rename(self._folder / name)
        if count > 1:
            files = {key: name for name, keys in zip(names, self._shards, strict=True) for key in keys}
            index = {"metadata": {"total_size": self.total_bytes}, "weight_map": dict(sorted(files.items()))}
            (self._folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _write(self) -> None:
        save_file(self._held, self._temporary(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._held))
        self._held, self._held_bytes = {}, 0

    def _temporary(self, number: int) -> Path:
        return self._folder / f"shard-{number}.tmp"
