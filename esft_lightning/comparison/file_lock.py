"""A lock on a file that the operating system holds, so that a process that dies leaves none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock; whoever opens the same file, thread or process, contends for it.

    The file may hold text for its users. It stays behind (removing it could take it from under another process that
    has just opened it) and means nothing by itself.
    """

    def __init__(self, path: str | Path) -> None:
        """Choose the file.

        Args:
            path: Made, with its folder, if it is missing.
        """
        self.path = Path(path)
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock.

        Args:
            wait: Wait for another holder to let go.

        Returns:
            Whether it was taken.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)  # less the user's umask
        if _lock(descriptor, wait):
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Let go; nothing happens where nothing is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        """Take the lock, however long that takes."""
        self.acquire(wait=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go."""
        self.release()


def _lock(descriptor: int, wait: bool) -> bool:
    """Lock an open file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if wait:
            raise
        return False
    return True
