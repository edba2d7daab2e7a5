"""Write a file whole or not at all. Knows nothing of what is written."""

import os
from pathlib import Path


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write `content` beside `path` under a temporary name, then rename it over `path`; makes missing folders.

    A reader sees the old file or the new one, never half of one. An ordinary `open` makes the temporary file, so that
    it gets the permissions any new file would (`tempfile` would make it readable by its owner alone).

    Raises:
        OSError: the folder cannot be made or written to; no temporary file stays behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
