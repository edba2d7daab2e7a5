"""Write a file or a folder whole or not at all. Knows nothing of what is written.

All that the library leaves on disk goes through here: a temporary name beside the target, a flush to disk, a rename.
A reader sees the old content or the new one, never half of one, and an error leaves nothing behind. Whoever writes the
same next removes what a killed process left. Files have the permissions that the user's umask gives any new file: some
writers (safetensors) make theirs for the owner alone.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from esft_lightning.errors import FileError

_TEMPORARY = re.compile(r"(\d+)\.[0-9a-f]{8}\.(?:tmp|old)")  # process and chance, behind name and host
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not be so large",
}
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


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
    remove_leftovers(path)
    temporary = _temporary_name(path, "tmp")
    try:
        with _said_where(path):
            yield temporary
            _settle(temporary, _new_file_mode(path.parent))
            temporary.replace(path)
            _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it when the block ends without an error, removed otherwise.

    Args:
        folder: Where the result shall be; missing parents are made.
        replace: Put the new folder in the place of one that is there. On Linux both change their names in one step, so
            that there is a whole folder at any moment; elsewhere there is none between two renames, and one that was
            killed there leaves the old folder under a hidden name.

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
        if replace and folder.exists():
            _exchange(temporary, folder)
        else:
            temporary.rename(folder)  # without `replace`, what came there meanwhile is left alone: an OSError
        _flush_folder(folder.parent)


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """A temporary folder whose files go into `folder` when the block ends without an error, one by one, each whole.

    For writers that take a folder, where `folder` holds other files too, which stay. A reader may meanwhile see some of
    the new files beside some of the old ones.

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
        _flush_folder(folder)


@contextmanager
def _temporary_folder(beside: Path) -> Iterator[Path]:
    """A new folder beside a path; what is left of it in the end is removed."""
    temporary = _temporary_name(beside, "tmp")
    temporary.mkdir(parents=True)
    remove_leftovers(beside)
    try:
        with _said_where(beside):
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


def remove_leftovers(path: Path) -> None:
    """Remove what processes that are gone left beside a path while they wrote it.

    Only those of this machine are told from living ones, so that others on a shared disk are left alone.

    Args:
        path: The file or folder that they were writing.
    """
    ours = f".{path.name}.{_host()}-"
    for left in [Path(entry) for entry in os.scandir(path.parent) if entry.name.startswith(ours)]:
        match = _TEMPORARY.fullmatch(left.name.removeprefix(ours))
        if match is None or _is_alive(int(match[1])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):  # another process was quicker
                left.unlink()


@cache
def _host() -> str:
    """This machine since it was started, and the processes that this one can see: there a number is one process."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _exchange(temporary: Path, folder: Path) -> None:
    """Put a folder in the place of another, which then has the first one's name, to be removed."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    rename = getattr(libc, "renameat2", None)
    if rename is not None and rename(_HERE, os.fsencode(temporary), _HERE, os.fsencode(folder), _EXCHANGE) == 0:
        return
    old = _temporary_name(folder, "old")
    folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Flush names to the disk, where the system can: a rename that is not there after a power cut never happened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _said_where(path: Path) -> Iterator[None]:
    """Say of a full disk, however a writer puts it, what did not fit.

    Raises:
        FileError: In the place of the writer's own error.
    """
    try:
        yield
    except Exception as error:
        if (why := _no_room(error)) is None:
            raise
        free = shutil.disk_usage(path.parent).free
        raise FileError(
            f"{path} could not be written: {why} ({free / 1e6:,.1f} MB are free there); what was there before is as it "
            "was, so make room and go on"
        ) from error


def _no_room(error: BaseException) -> str | None:
    """Why there was no room for a file; None for another error."""
    if isinstance(error, FileError):
        return None  # said by a file inside a folder
    if isinstance(error, OSError) and error.errno in _FULL:
        return _FULL[error.errno]
    words = str(error)  # safetensors has the system's words in an error of its own
    for number, said in _FULL.items():
        if os.strerror(number) in words or f"os error {number}" in words:
            return said
    cause = error.__cause__ or error.__context__
    return None if cause is None else _no_room(cause)


def _temporary_name(path: Path, kind: str) -> Path:
    """A name beside `path` that no other process or thread takes."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.{secrets.token_hex(4)}.{kind}")
