"""Where runs lie below a root, and which runner is making which: several may be at work on one root.

A run is known by its key. Experiments that share a root share runs, whatever they call them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from esft_lightning.comparison.result import RESULT_FILE, RunResult
from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.comparison.spec_files import files_digest
from esft_lightning.moe.base_digest import base_digest
from esft_lightning.storage import atomic_write

SPEC_FILE = "spec.json"
CACHE_FOLDER = ".cache"


def run_key(spec: RunSpec) -> str:
    """What a finished run is recognized by: its spec, its base model's files, and the content of the files it reads.

    Args:
        spec: The run; its relative paths are looked up from the current folder.

    Returns:
        12 hexadecimal digits.

    Raises:
        OSError: If a file that the spec names cannot be read.
    """
    files = files_digest(spec)
    facts = f"{spec.content_hash} {base_digest(spec.base)}" + (f" {files}" if files else "")
    return sha256(facts.encode()).hexdigest()[:12]


class RunPlaces:
    """The runs below a root.

    `.cache/locks/KEY` holds the run's folder, relative to the root. The lock beside it, `KEY.lock`, is the operating
    system's, so that a process that dies leaves nothing locked.
    """

    def __init__(self, root: Path) -> None:
        """Read which runs there are.

        Args:
            root: Need not exist.
        """
        self.root = root
        self._locks = root / CACHE_FOLDER / "locks"
        self._known = {key: path.parent for path in sorted(root.rglob(SPEC_FILE)) if (key := _key_in(path.parent))}

    def finished(self, key: str) -> RunResult | None:
        """The run's result, where it has finished, be it in another runner's hands; else None."""
        folder = self.folder(key)
        if folder is None:
            return None
        try:
            result = RunResult.load(folder / RESULT_FILE)
        except (OSError, ValueError):
            return None  # not there, or written by another version: run again
        return result if result.finished and result.key == key else None

    def folder(self, key: str) -> Path | None:
        """Where the run lies; None where it was never begun."""
        known = self._known.get(key)
        if known is not None and _key_in(known) == key:
            return known
        try:
            told = (self._locks / key).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        folder = self.root / told
        if not told or _key_in(folder) != key:
            return None
        self._known[key] = folder
        return folder

    @contextmanager
    def claim(self, key: str, spec: RunSpec) -> Iterator[Path | None]:
        """Hold a run while it is being made; yields its folder, or None where another runner holds it.

        The folder is `spec.folder`, or where that belongs to another run, the same with the key appended.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self._locks / f"{key}.lock").acquire(blocking=False)
        except Timeout:
            yield None
            return
        with held:
            yield self._place(key, spec)

    def _place(self, key: str, spec: RunSpec) -> Path:
        with FileLock(self._locks / "placing.lock"):  # so that two runs of one name do not take the same folder
            folder = self.folder(key)
            if folder is None:
                plain = self.root / spec.folder
                folder = plain.with_name(f"{plain.name}-{key}") if plain.exists() else plain
                folder.mkdir(parents=True, exist_ok=True)
                content = json.dumps({"key": key, **spec.to_dict()}, indent=2) + "\n"
                atomic_write(folder / SPEC_FILE, content.encode())
            atomic_write(self._locks / key, f"{folder.relative_to(self.root).as_posix()}\n".encode())
            self._known[key] = folder
            return folder


def _key_in(folder: Path) -> str | None:
    try:
        return json.loads((folder / SPEC_FILE).read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError, AttributeError):
        return None  # no run, or one that was ended before it could say what it is
