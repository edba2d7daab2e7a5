"""`ModelIdentity`: which model is at work. Plain fields, no torch.

Everything that is kept and used again (profiles, groupings, generated answers) is keyed by it, so that what one model
did is never taken for what another would do. What else decides a kept result (rows, how they are read, how an answer is
generated) is added by whoever keeps it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

CODE = 2
"""Counts up with every change of the library that makes the same model answer, or route, in another way."""


@dataclass(frozen=True)
class ModelIdentity:
    """What decides what a model computes.

    Attributes:
        weights: `moe.model_fingerprint` of the base: its configuration and full weights, before anything is trained.
        dtype: Storage dtype of the base's weights, as loaded.
        quantization: In which form frozen experts are kept (`int8`, `nf4`); empty where they are kept in full.
        precision: The Trainer's precision, such as `32-true` or `bf16-mixed`.
        attention: Transformers' attention implementation at work.
        grouping: Digest of the groups that experts are bound in; empty without.
        adapter: Digest of the adapter's files; empty without.
        trained: Digest of what a strategy trained in memory, or a checkpoint brought back, with the strategy's
            settings; empty for nothing.
        tokenizer: Digest of the tokenizer's rules, vocabulary, special tokens and chat template.
        code: Version of the library's own part in it, see `CODE`.
    """

    weights: str
    dtype: str
    quantization: str = ""
    precision: str = ""
    attention: str = ""
    grouping: str = ""
    adapter: str = ""
    trained: str = ""
    tokenizer: str = ""
    code: int = CODE

    def facts(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def key(self, **further: Any) -> str:
        """A short name for this model and whatever else decides what is kept under it.

        Args:
            further: JSON values.

        Returns:
            16 hexadecimal digits.
        """
        return key_of({"model": self.facts(), **further})


def key_of(facts: Any) -> str:
    """A short name for a JSON value, whatever the order of its keys: 16 hexadecimal digits.

    Raises:
        TypeError: If it is no JSON value.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def content_digest(path: str | Path) -> str:
    """Digest of a file's content, or of the names and contents of all files in a folder.

    A file that has not changed since it was last read by this process is not read again.

    Args:
        path: A file or folder; symbolic links are followed.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: If it cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return _file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()} {_file_digest(file)}\n".encode())
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of_version(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest_of_version(path: Path, size: int, changed: int) -> str:
    """Of a file at one time; size and time of change only tell the cache that it was written anew."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
