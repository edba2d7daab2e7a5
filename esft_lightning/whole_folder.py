"""Write a folder whole or not at all. Knows nothing of what is in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """
    folder = Path(folder).absolute()
    if not replace and folder.exists():
        raise FileExistsError(f"{folder} is there already; name another output, or remove it first")
    temporary, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
