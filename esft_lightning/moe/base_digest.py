"""A short name for a base model's files, in milliseconds and without torch.

A run is not reused with other weights, and an adapter is not merged into another checkpoint.

The exact name is `esft_lightning.moe.model_fingerprint`, which needs the model loaded; runs record that one too.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from esft_lightning.embedded import TINY
from esft_lightning.moe.weight_files import has_safetensors, is_weight_file, weight_files

_SAMPLES = 64  # per file, evenly spaced
_SAMPLE_BYTES = 4096
_SUFFIXES = (".json", ".safetensors", ".bin", ".jinja", ".model")
_RECORDS = "PRETRAINING.json"


def base_digest(base: str) -> str:
    """Digest of a base model's files: names, sizes and evenly spaced bytes.

    Args:
        base: `tiny`, a local folder, or a hub id (which is its own name: the hub's cache keeps revisions apart).
            `tiny@STEPS` is its own name, too: its steps and its seed decide what it is.

    Returns:
        12 hexadecimal digits.
    """
    folder = TINY if base == "tiny" else Path(base)
    if not folder.is_dir():
        return hashlib.sha256(base.encode()).hexdigest()[:12]
    files = [path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.name != _RECORDS and path.is_file()]
    if has_safetensors(folder):  # weights that lie there and are not read decide nothing
        read = {folder / name for name in weight_files(folder)}
        files = [*read, *(path for path in files if not is_weight_file(path.name))]
    stats = [(path, path.stat()) for path in sorted(files)]
    return _digest(tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats))


@lru_cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Of files with size and time of change; the time only tells the cache that a file was written anew."""
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for number in range(min(_SAMPLES, -(-size // _SAMPLE_BYTES))):
                file.seek(number * max(_SAMPLE_BYTES, size // _SAMPLES))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]
