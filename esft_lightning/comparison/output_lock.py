"""One runner at a time in an output folder. The operating system holds the lock, so a runner that dies leaves none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

LOCK_FILE = ".lock"


class OutputBusyError(RuntimeError):
    """Another runner is at work in the same output folder."""


class OutputLock:
    """Context manager around work in an output folder.

    The file names the holder's process for people to read; whether it is held, only the lock on it says. The file stays
    behind (removing it could take it from under another runner that has just opened it) and means nothing by itself.
    """

    def __init__(self, folder: str | Path) -> None:
        """Choose the folder.

        Args:
            folder: Made if it is missing.
        """
        self.path = Path(folder) / LOCK_FILE
        self._file: IO[str] | None = None

    def __enter__(self) -> OutputLock:
        """Take the lock.

        Raises:
            OutputBusyError: If another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+", encoding="utf-8")
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise OutputBusyError(
                f"{self.path.parent}: another comparison (process {holder}) is at work here; "
                "wait for it, or choose another --output"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[str]) -> None:
    """Lock an open file without waiting, or raise OSError."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(1024)  # beyond the text, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
