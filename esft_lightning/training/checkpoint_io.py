"""Write Lightning's checkpoints straight to disk, and read none that is damaged.

Lightning makes the whole file in memory first, which for what is trained and its optimizer state is 12 bytes a trained
parameter: as much again as training itself holds. A flipped bit in a weight it reads without a word.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from esft_lightning.errors import FileError, SettingError
from esft_lightning.storage import whole_file


class DirectCheckpointIO(TorchCheckpointIO):
    """Lightning's own reader and writer, except that a local file is written as it is made, and appears whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: What Lightning collected.
            path: The file; a remote one (`s3://…`) is left to Lightning.
            storage_options: Not supported, as in Lightning.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(path) as temporary, temporary.open("wb") as stream:
            torch.save(checkpoint, stream)  # to a stream, whose errors say what the system said

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            path: The file; a remote one (`s3://…`) is fetched by Lightning, and plain data are all that is taken of it.
            args: As Lightning's.
            options: As Lightning's.

        Raises:
            SettingError: For the address of a web page.
            FileError: If it is damaged, or no checkpoint of a run.
            OSError: If it is not there.
        """
        refuse_web_address(path)
        if "://" in str(path):
            options["weights_only"] = True  # nothing that came from elsewhere is unpickled
        else:
            check_whole(path)
            path = Path(path).absolute()  # Lightning takes any path that begins with http for an address
        checkpoint = _read(path, lambda: super(DirectCheckpointIO, self).load_checkpoint(path, *args, **options))
        if "state_dict" not in checkpoint:
            raise FileError(f"{path} is no checkpoint of a run; expected one from the checkpoints folder of a run")
        return checkpoint


def peek(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, its tensors still on disk: for what it says besides them.

    Args:
        path: The file.

    Raises:
        FileError: If it is not there, cut, or no checkpoint of a run.
    """
    return _read(path, lambda: torch.load(path, map_location="cpu", weights_only=True, mmap=True))


def refuse_web_address(path: str | Path) -> None:
    """Refuse `http://…` for a checkpoint: Lightning would unpickle whatever comes, and keep it by its last name alone.

    Args:
        path: A file, or a remote place.

    Raises:
        SettingError: If it is a web address.
    """
    if str(path).lower().startswith(("http://", "https://")):
        raise SettingError(f"ckpt_path={path}: a checkpoint is not loaded from the web; download it, and give the file")


def _read(path: str | Path, load: Callable[[], Any]) -> dict[str, Any]:
    if "://" not in str(path) and not Path(path).exists():
        raise FileError(f"{path}: there is no such checkpoint")
    try:
        checkpoint = load()
    except (FileError, MemoryError):
        raise
    except Exception as error:  # what unpickling raises of a strange file has no common class
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise FileError(f"{path} is no checkpoint of a run, or was cut: {reason}") from error
    if not isinstance(checkpoint, dict):
        raise FileError(f"{path} is no checkpoint of a run; expected one from the checkpoints folder of a run")
    return checkpoint


def check_whole(path: str | Path) -> None:
    """Refuse a checkpoint file that was cut, or whose content is no longer what was written.

    Args:
        path: A file of `torch.save`, which is a zip archive with a checksum for each tensor.

    Raises:
        FileError: If it is damaged.
    """
    if not Path(path).exists():
        raise FileError(f"{path}: there is no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FileError(
            f"{path} is no checkpoint, or one that was cut ({error}); take another one of the run"
        ) from error
    if damaged is not None:
        raise FileError(f"{path} is damaged at {damaged}; take another one of the run")
