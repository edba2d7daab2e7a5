"""Settings of the Lightning command line that are refused before anything is made, each in a sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from esft_lightning.commands.wrong_values import class_names
from esft_lightning.errors import FileError, SettingError, UserError, one_line
from esft_lightning.nearest import unknown
from esft_lightning.training.checkpoint_io import refuse_web_address

_CHECKPOINTS_BELOW = ("*.ckpt", "checkpoints/*.ckpt", "*/checkpoints/*.ckpt")  # of a run, and of a strategy's runs
_WRAPPED = ("Does not validate against", "Parser key")  # how jsonargparse begins, around what a constructor said


@contextmanager
def said_as_settings() -> Iterator[None]:
    """Inside, what parsing and constructors refuse becomes a `SettingError`; other errors are faults, and pass.

    Raises:
        UserError: What a constructor of ours raised, or one for what another one did.
    """
    try:
        yield
    except UserError:
        raise
    except OmegaConfBaseException as error:
        reason = one_line(error).partition(" full_key:")[0].partition(" (resolved to")[0]
        raise SettingError(
            f"{_key_of(error)}: {reason}; ${{name}} stands for the value of the setting of that name, so for a dollar "
            "before a brace put a space between the two: $ {name}"
        ) from error
    except (ValueError, MisconfigurationException, ImportError) as error:
        cause: BaseException = error
        while not isinstance(cause, UserError) and str(cause).startswith(_WRAPPED) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, UserError | OSError):
            raise cause from None
        raise SettingError(one_line(cause)) from error


def check_checkpoint(name: str | None, root: str | None, *, training: bool) -> None:
    """Refuse a `--ckpt_path` that leads to no checkpoint.

    Args:
        name: The value; a name that Lightning resolves, a file, or a remote place.
        root: `trainer.default_root_dir`.
        training: Whether training goes on from it, which takes more than its weights.

    Raises:
        SettingError: For a name that means nothing in a new process, or a web address.
        FileError: For a file that is not there, empty, or damaged.
    """
    if name in (None, "last", "best"):
        return
    if "://" in name:
        refuse_web_address(name)
        return
    way_out = "give the file, such as runs/law/ESFTGate/version_0/checkpoints/best.ckpt"
    if name == "hpc" and any(any(Path(place).glob("hpc_ckpt_*")) for place in ([root] if root else [".", "runs"])):
        return
    if name == "hpc" or name.startswith("registry"):
        raise SettingError(
            f"--ckpt_path {name} is a checkpoint that this process has made, and it has made none; {way_out}"
        )
    path = Path(name)
    if path.is_dir():
        if (path / "meta.pt").is_file() or (path / "checkpoint").is_dir():  # Lightning's sharded checkpoints
            return
        inside = [str(file) for way in _CHECKPOINTS_BELOW for file in sorted(path.glob(way))][:3]
        hint = f"it holds {', '.join(inside)}" if inside else way_out
        raise FileError(f"--ckpt_path {name} is a folder; expected a checkpoint file: {hint}")
    if not path.is_file():
        raise FileError(f"--ckpt_path {name}: there is no such checkpoint; {way_out}")
    if path.stat().st_size == 0:
        raise FileError(f"--ckpt_path {name} is empty; {way_out}")
    try:  # its weights are checked when they are read
        with zipfile.ZipFile(path) as archive:
            content = next((archive.read(file) for file in archive.namelist() if file.endswith("data.pkl")), b"")
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise FileError(f"--ckpt_path {name} is no checkpoint, or one that was cut; {way_out}") from error
    if b"pytorch-lightning_version" not in content:
        raise FileError(f"--ckpt_path {name} is no checkpoint of a run; {way_out}")
    if training and b"optimizer_states" not in content:
        raise FileError(
            f"--ckpt_path {name} holds weights alone (checkpoint.save_weights_only): fit cannot go on from it"
        )


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Refuse what Lightning's Trainer would stumble over later, or leave without effect.

    Args:
        settings: The settings of the Trainer.

    Raises:
        SettingError: A strategy or accelerator without such a name, with all names, ours included, and the nearest one;
            or a number that cannot be.
    """
    for key, least in (("accumulate_grad_batches", 1), ("gradient_clip_val", 0)):
        if (value := settings.get(key)) is not None and value < least:
            raise SettingError(f"trainer.{key} must be at least {least}, got {value}")
    interval = settings.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        raise SettingError(
            f"trainer.val_check_interval must be above 0, got {interval}; trainer.limit_val_batches=0 is without "
            "validation"
        )
    known = {
        "strategy": ["auto", *StrategyRegistry.available_strategies()],
        "accelerator": ["auto", "gpu", *AcceleratorRegistry.available_accelerators()],
    }
    for key, names in known.items():
        name = settings.get(key)
        if isinstance(name, str) and name not in names:
            raise SettingError(f"trainer.{key}: {unknown('name', name, sorted(names))}")


def check_data(settings: Mapping[str, Any] | None) -> None:
    """Refuse a command that names no task.

    Args:
        settings: The setting `data`.

    Raises:
        SettingError: With the names of the tasks.
    """
    if str((settings or {}).get("class_path", "")).rpartition(".")[2] in ("", "TaskDataModule"):
        raise SettingError(f"--data is missing; expected one of {', '.join(class_names('data'))}, or a class_path")


def check_processes(trainer: Trainer, data: Any) -> None:
    """Refuse more processes than rows of a step, before they are started.

    Raises:
        SettingError: If some would have nothing to read.
    """
    batch_size = getattr(data, "batch_size", None)
    if isinstance(batch_size, int) and batch_size < trainer.world_size:
        raise SettingError(
            f"data.batch_size={batch_size} is the number of rows of ALL {trainer.world_size} processes together "
            "(trainer.devices × trainer.num_nodes) and leaves some with nothing; raise it, or take fewer processes"
        )


def check_output(output: str | None) -> None:
    """Refuse an output file that is a folder, before the work is done whose result it shall take.

    Raises:
        SettingError: If it is one.
    """
    if output is not None and Path(output).is_dir():
        raise SettingError(f"--output {output} is a folder; expected a file to write")


def _key_of(error: OmegaConfBaseException) -> str:
    """The setting that an error of OmegaConf's is about, without the verb and `init_args`."""
    key = str(getattr(error, "full_key", None) or "a setting").replace(".init_args.", ".")
    first, _, rest = key.partition(".")
    return rest if first in ("fit", "validate", "test", "predict", "profile") and rest else key
