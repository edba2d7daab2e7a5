"""`--ckpt_path last` and `best` in a new process: a checkpoint of the last run like this one, or a refusal.

Lightning looks in the folder of the run that is about to start, finds nothing there, and starts anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from esft_lightning.errors import UserError
from esft_lightning.training.checkpoint_io import peek
from esft_lightning.training.run_folder import CHECKPOINTS, RUN_FILE, runs_root


def find_checkpoint(which: Literal["last", "best"], trainer: Trainer, *, strategy: str, base: str, task: str) -> Path:
    """The checkpoint of the last run of a task with a strategy on a base that left any.

    Args:
        which: `last`: its newest; `best`: the one whose validation was best.
        trainer: Whose runs are looked through; its checkpoint callback's own folder, where it was given one.
        strategy: The strategy's name.
        base: The base's name.
        task: The task's name.

    Returns:
        The checkpoint's path.

    Raises:
        UserError: If there is none.
    """
    given = [entry.dirpath for entry in trainer.checkpoint_callbacks if isinstance(entry, ModelCheckpoint)]
    places = [Path(place) for place in given if place]
    root = runs_root(trainer)
    folders = places or [run / CHECKPOINTS for run in _runs(root, task=task, strategy=strategy, base=base)]
    newest = next((found for folder in folders if (found := _newest(folder)) is not None), None)
    if newest is None:
        where = f"in {', '.join(map(str, places))}" if places else f"of {task} with {strategy} on {base} below {root}"
        raise UserError(f"ckpt_path={which}: no run {where} left a checkpoint; name a file, or leave ckpt_path out")
    return newest if which == "last" else _best(newest)


def _runs(root: Path, **wanted: Any) -> Iterator[Path]:
    """Folders of runs that are what is wanted, the last that was started first."""
    found = []
    for file in root.rglob(RUN_FILE):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # another program's file of that name
        if isinstance(record, dict) and all(record.get(name) == value for name, value in wanted.items()):
            found.append((str(record.get("started")), file.parent))
    return (folder for _, folder in sorted(found, reverse=True))


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, default=None)


def _best(newest: Path) -> Path:
    """The best checkpoint, as the newest one of the same run knows it."""
    callbacks = peek(newest).get("callbacks", {})
    named = [state.get("best_model_path") for state in callbacks.values() if isinstance(state, dict)]
    for path in map(Path, filter(None, named)):
        # A resumed run's best may be in the folder of the run before it; a folder may have been moved.
        for best in (path, newest.with_name(path.name)):
            if best.is_file():
                return best
    raise UserError(f"ckpt_path=best: {newest.parent} holds no best checkpoint; name a file, or take last")
