"""Results of benchmarks as JSON files, one per piece, so that a benchmark can be made in pieces and taken up again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from esft_lightning.comparison.environment import commit, hardware, versions
from esft_lightning.storage import atomic_write

FOLDER = Path("runs/benchmarks")


def save(folder: Path, piece: str, content: dict[str, Any], *, command: str, threads: int, quick: bool) -> Path:
    """Write a piece's result with what it was made by and on.

    Args:
        folder: Folder of the results; made where it is missing.
        piece: Name of the piece.
        content: What was measured.
        command: What makes it again.
        threads: Threads that torch computed with.
        quick: Whether sizes were such that timings mean nothing.

    Returns:
        The file.
    """
    made_by = {
        "piece": piece,
        "command": command,
        "quick": quick,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "hardware": hardware(threads),
        "versions": versions(),
    }
    return _write(folder, piece, {"made_by": made_by, **content})


def _write(folder: Path, piece: str, content: dict[str, Any]) -> Path:
    path = folder / f"{piece}.json"
    atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def archive(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Write all results into one file, from which `restore` takes them again."""
    atomic_write(path, (json.dumps(results) + "\n").encode())


def restore(path: Path, folder: Path) -> int:
    """Put an archive's results into a folder, where they are not there yet.

    Returns:
        How many were put there.

    Raises:
        OSError: The archive cannot be read.
        ValueError: It is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = [content["made_by"]["piece"] for content in found.values()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no archive of benchmark results ({error!r})") from error
    missing = [name for name in names if not (folder / f"{name}.json").exists()]
    for name in missing:
        _write(folder, name, found[name])
    return len(missing)


def load_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Every result in a folder, by the name of its piece.

    Raises:
        ValueError: If a file is none, by name.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found[content["made_by"]["piece"]] = content
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} is no benchmark result ({error}); remove it and measure again") from error
    return found
