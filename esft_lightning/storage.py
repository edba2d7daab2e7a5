"""Write a file or a folder whole or not at all. Knows nothing of what is written.

Everything that the library leaves on disk goes through here: a temporary name beside the target, a flush to the disk, a
rename. A reader sees the old content or the new one, never half of one, and an error leaves nothing behind. Files have
the permissions that the user's umask gives any new file: some writers (safetensors) make theirs for the owner alone.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all; make missing folders.

    Args:
        path: The file.
        content: Its bytes.

    Raises:
        OSError: If the folder cannot be made or written to; no temporary file stays behind.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file's path, renamed to `path` when the block ends without an error, removed otherwise.

    For writers that take a path or stream.

    Args:
        path: Where the result shall be; missing folders are made.

    Yields:
        The temporary path, beside `path` and of no other process or thread; nothing is there yet.

    Raises:
        IsADirectoryError: If `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file to write", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path, "tmp")
    try:
        yield temporary
        _settle(temporary, _new_file_mode(path.parent))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it when the block ends without an error, removed otherwise.

    Args:
        folder: Where the result shall be; missing parents are made.
        replace: Put the new folder in the place of one that is there.

    Yields:
        The temporary folder.

    Raises:
        FileExistsError: If something is there already and `replace` is off; nothing is written then.
        OSError: If another process put something there while the block ran and `replace` is off.
    """
    folder = Path(folder).absolute()
    if not replace and folder.exists():
        raise FileExistsError(f"{folder} is there already; name another output, or remove it first")
    with _temporary_folder(folder) as temporary:
        yield temporary
        _settle_files(temporary)
        old = _temporary_name(folder, "old")
        if replace and folder.exists():
            folder.rename(old)
        temporary.rename(folder)  # without `replace`, what came there meanwhile is left alone: an OSError
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files go into `folder` when the block ends without an error, one by one, each whole.

    For writers that take a folder, where `folder` holds other files too, which stay.

    Args:
        folder: Where the files shall be; made where it is missing.

    Yields:
        The temporary folder, beside `folder`.
    """
    folder = Path(folder).absolute()
    with _temporary_folder(folder) as temporary:
        yield temporary
        for file in _settle_files(temporary):
            target = folder / file.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


@contextmanager
def _temporary_folder(beside: Path) -> Iterator[Path]:
    """A new folder beside a path; what is left of it in the end is removed."""
    temporary = _temporary_name(beside, "tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _settle_files(folder: Path) -> list[Path]:
    """Settle every file below a folder; returns them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    mode = _new_file_mode(folder)
    for file in files:
        _settle(file, mode)
    return files


def _new_file_mode(folder: Path) -> int:
    """The permissions of a new file in a folder. The umask itself can only be read by changing it, for all threads."""
    probe = _temporary_name(folder / "mode", "tmp")
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mode & 0o777
    finally:
        probe.unlink(missing_ok=True)


def _settle(file: Path, mode: int) -> None:
    """Give a written file the permissions of any new one, and flush it to the disk."""
    with file.open("rb") as stream:
        have = os.fstat(stream.fileno()).st_mode & 0o777
        if have | mode != have:
            os.fchmod(stream.fileno(), have | mode)
        os.fsync(stream.fileno())


def _temporary_name(path: Path, kind: str) -> Path:
    """A name beside `path` that no other process or thread takes."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.{kind}")
