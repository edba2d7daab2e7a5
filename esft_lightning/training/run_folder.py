"""`RunFolder`: the one place of what a run leaves behind, whatever its loggers are.

Checkpoints, adapters, selection, profile, configuration and predictions lie in one folder that belongs to one run. A
folder is claimed by making it together with its `run.json`, in one step, so that of two runs that start at the same
time each gets its own. TensorBoard's and CSV's loggers write into it; other loggers keep their own places.
"""

from __future__ import annotations

import json
import os
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from esft_lightning.storage import atomic_write, whole_folder

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"

FileLogger = TensorBoardLogger | CSVLogger


class RunFolder(Callback):
    """Claims the run's folder before a logger opens a file in it; `run_folder(trainer)` says where it is.

    `ExpertFineTuner` puts one in front of the other callbacks. The folder is that of the first TensorBoard or CSV
    logger: its next free `version_N`, or the version that it was given, with `-1`, `-2`, … behind it where another run
    has that already. Without such a logger it is `TASK/STRATEGY/version_N` below `trainer.default_root_dir`.

    Attributes:
        path: The folder, once it is known.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        """Choose the folder, or leave it to the loggers.

        Args:
            path: A folder that is this run's own already, which nothing is claimed for; None claims one.
        """
        self.path = None if path is None else Path(path)
        self._claimed = False
        self._homeless: list[ModelCheckpoint] | None = None  # checkpoint callbacks without a folder of their own

    def claim(self, trainer: Trainer) -> None:
        """Claim a folder, on the first process alone; the others hear of it in `setup`.

        An evaluation with a logger of a fixed version joins the run that is there, and one without a logger that writes
        files claims a folder when something asks for it.
        """
        if self._homeless is None:
            checkpoints = [entry for entry in trainer.checkpoint_callbacks if isinstance(entry, ModelCheckpoint)]
            self._homeless = [entry for entry in checkpoints if entry.dirpath is None]
        fitting, loggers = trainer.state.fn == "fit", _file_loggers(trainer)
        if self.path is not None or not _is_first_process(trainer) or not (fitting or loggers):
            return
        self._take(trainer, loggers, join=not fitting)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell every process the folder, and send checkpoints there."""
        loggers = _file_loggers(trainer)
        versions = [logger._version for logger in loggers]
        self.path, versions = trainer.strategy.broadcast((self.path, versions))
        if not trainer.is_global_zero:
            for logger, version in zip(loggers, versions, strict=True):
                logger._version = version
        for checkpoint in self._homeless or ():
            if self.path is not None:
                checkpoint.dirpath = str(self.path / CHECKPOINTS)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove a folder that nothing was written into: data that were refused leave none behind."""
        made = self._claimed and self.path is not None and self.path.is_dir()
        if made and self.path is not None and [file.name for file in self.path.iterdir()] == [RUN_FILE]:
            (self.path / RUN_FILE).unlink()
            self.path.rmdir()

    def of(self, trainer: Trainer) -> Path:
        """The folder; a collective call the first time, where nothing has claimed one yet."""
        if self.path is None:
            if trainer.is_global_zero:
                self._take(trainer, _file_loggers(trainer), join=True)
            self.path = trainer.strategy.broadcast(self.path)
            assert self.path is not None
        return self.path

    def _take(self, trainer: Trainer, loggers: list[FileLogger], *, join: bool) -> None:
        """Claim a folder for each place that loggers write to; the first is the run's."""
        record = _record(trainer)
        if not loggers:
            root = Path(trainer.default_root_dir) / record["task"] / record["strategy"]
            self.path, self._claimed = root / _version_name(_claim_numbered(root, 0, record)), True
        for logger in loggers:
            first, place = loggers[0], _place(logger)
            if logger is not first and not logger._version and place == _place(first):
                logger._version = first._version
            elif not logger._version and logger._version != 0:
                logger._version = _claim_numbered(place, logger._get_next_version(), record)
            elif not join and logger._experiment is None:
                logger._version = _claim_named(place, logger._version, record)
            elif not join:
                logger._version = _claim_open(logger, record)
        if loggers:
            self.path, self._claimed = _place(loggers[0]) / _version_name(loggers[0]._version), not join
            _open_csv(loggers)


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run at hand. The first call may be a collective one: make it on every process.

    Args:
        trainer: The run's.

    Returns:
        Where checkpoints, adapters, selection, profile and configuration go.
    """
    return _callback_of(trainer).of(trainer)


def claim_run_folder(trainer: Trainer) -> None:
    """Claim the run's folder before any logger opens a file; `ExpertFineTuner` calls this."""
    _callback_of(trainer).claim(trainer)


def runs_root(trainer: Trainer) -> Path:
    """The folder that holds this run and others: the first file logger's, or `trainer.default_root_dir`."""
    loggers = _file_loggers(trainer)
    return Path(loggers[0].save_dir if loggers else trainer.default_root_dir).expanduser()


def task_of(data: Any) -> str:
    """The name of a DataModule's task; that of its class where it has none, and `data` without one."""
    return "data" if data is None else getattr(data, "task", "") or type(data).__name__


def _callback_of(trainer: Trainer) -> RunFolder:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    given = next((callback for callback in callbacks if isinstance(callback, RunFolder)), None)
    if given is None:
        given = RunFolder()
        callbacks.insert(0, given)
    return given


def _is_first_process(trainer: Trainer) -> bool:
    # Before the process group is there: neither of them alone knows it under every launcher.
    local, node = getattr(trainer.strategy, "local_rank", 0), getattr(trainer.strategy, "node_rank", 0)
    return (getattr(rank_zero_only, "rank", 0), local, node) == (0, 0, 0)


def _file_loggers(trainer: Trainer) -> list[FileLogger]:
    """Loggers whose files lie in a folder of the run, on this machine's disks."""
    return [
        logger for logger in trainer.loggers if isinstance(logger, FileLogger) and "://" not in str(logger.save_dir)
    ]


def _record(trainer: Trainer) -> dict[str, Any]:
    """What `run.json` says: whose folder it is."""
    module = trainer.lightning_module
    strategy = getattr(module, "strategy", None)
    return {
        "verb": str(trainer.state.fn.value) if trainer.state.fn is not None else "fit",
        "task": task_of(trainer.datamodule),  # type: ignore[attr-defined]
        "strategy": getattr(strategy, "name", type(module).__name__),
        "base": getattr(module, "base", None),
        "started": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def _text(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _claim(folder: Path, record: dict[str, Any]) -> bool:
    """Make the folder and its `run.json` in one step; False where somebody has it already."""
    with suppress(OSError):
        folder.rmdir()  # an empty folder is nobody's
    try:
        with whole_folder(folder) as temporary:
            atomic_write(temporary / RUN_FILE, _text(record))
    except OSError:
        if folder.exists():
            return False
        raise
    return True


def _claim_numbered(root: Path, number: int, record: dict[str, Any]) -> int:
    """The number, from this one on, of a `version_N` below `root` that nobody has."""
    while not _claim(root / _version_name(number), record):
        number += 1
    return number


def _claim_named(root: Path, version: int | str, record: dict[str, Any]) -> int | str:
    """A version that was asked for, or that name with a number behind it where another run has it."""
    name, number = version, 0
    while not _claim(root / _version_name(name), record):
        number += 1
        name = f"{_version_name(version)}-{number}"
    if name != version:
        rank_zero_info(f"{root / _version_name(version)} is another run's; this one goes into {root / str(name)}")
    return name


def _claim_open(logger: FileLogger, record: dict[str, Any]) -> int | str | None:
    """The folder that the logger has files open in, unless they are of a run before this one."""
    folder = _place(logger) / _version_name(logger._version)
    if not (folder / RUN_FILE).exists():
        atomic_write(folder / RUN_FILE, _text(record))
        return logger._version
    logger.finalize("success")
    logger._experiment = None
    return _claim_numbered(_place(logger), logger._get_next_version(), record)


def _place(logger: FileLogger) -> Path:
    """The folder of the logger's versions."""
    return Path(os.path.expandvars(logger.root_dir)).expanduser()


def _version_name(version: int | str | None) -> str:
    return version if isinstance(version, str) else f"version_{version}"


def _open_csv(loggers: list[FileLogger]) -> None:
    """Open CSV files now: the logger warns that it deletes what is there, which is only this run's `run.json`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            if isinstance(logger, CSVLogger):
                _ = logger.experiment
