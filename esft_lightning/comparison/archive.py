"""Finished results of many runs in one small file, so that a page's numbers can be checked and its runs continued.

A line is a `result.json`; the file is compressed. Restored runs count as finished; their adapters and events are gone.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from esft_lightning.comparison.result import RunResult
from esft_lightning.comparison.run_places import RunPlaces, run_key
from esft_lightning.errors import FileError
from esft_lightning.storage import atomic_write

ARCHIVE_FILE = "runs.jsonl.gz"


def write_archive(results: Iterable[RunResult], path: str | Path) -> int:
    """Write finished results, one a line, in the order of their keys; the same results give the same bytes.

    Args:
        results: Results; those that have not finished are left out.
        path: The file; replaced as a whole.

    Returns:
        How many were written.
    """
    finished = {result.key: result for result in results if result.finished}
    buffer = BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for key in sorted(finished):
            line = json.dumps(finished[key].to_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            file.write(f"{line}\n".encode())
    atomic_write(path, buffer.getvalue())
    return len(finished)


def read_archive(path: str | Path) -> list[RunResult]:
    """Read what `write_archive` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is no result; file and line are named.
    """
    results = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    results.append(RunResult.from_dict(json.loads(line)))
                except (ValueError, TypeError, RecursionError) as error:
                    raise FileError(f"{path}, line {number}: {error}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise FileError(f"{path}: no whole gzip file: {error}") from error
    return results


def restore(path: str | Path, root: str | Path) -> tuple[int, int]:
    """Put the archive's results below a root, where they are not there yet.

    Args:
        path: The archive.
        root: Root of the runs.

    Returns:
        How many were restored, and how many were left out because the base model here has other files, or the
        embedded rows are others.

    Raises:
        OSError: The archive cannot be read.
        ValueError: The archive holds what is no result.
    """
    results = read_archive(path)
    Path(root).mkdir(parents=True, exist_ok=True)
    places = RunPlaces(Path(root).resolve())
    restored = foreign = 0
    for result in results:
        if run_key(result.spec) != result.key:
            foreign += 1
        elif places.finished(result.key) is None:
            with places.claim(result.key, result.spec) as folder:
                if folder is not None:
                    result.save(folder)
                    restored += 1
    return restored, foreign
