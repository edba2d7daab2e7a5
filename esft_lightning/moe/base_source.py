"""Where a base model is: embedded, in a folder, or on the hub. Checked before anything is loaded, without torch."""

from __future__ import annotations

from pathlib import Path

from esft_lightning.embedded import model_source
from esft_lightning.errors import SettingError
from esft_lightning.moe.hub import BaseNotFoundError, check_on_hub


def base_source(base: str | Path, revision: str | None = None) -> str:
    """What Transformers loads for a base that is there.

    Args:
        base: `tiny` or `tiny@STEPS` (embedded), a model folder or its `config.json`, or a hub id.
        revision: Hub revision (branch, tag or commit).

    Returns:
        The folder or file, or the hub id, which the hub or its cache has.

    Raises:
        BaseNotFoundError: If there is none, with the way out.
        SettingError: For a revision of what does not come from the hub.
        FileNotFoundError: For `tiny@STEPS` that has not been made here, with the command that makes it.
    """
    source = model_source(base)
    path = Path(source)
    if path.exists():
        refuse_revision(base, revision)
    if path.is_dir():
        if (path / "config.json").is_file():
            return source
        if (path / "adapter_config.json").is_file():
            raise BaseNotFoundError(f"base {source!r} is an adapter folder; name the base that it was trained on")
        raise BaseNotFoundError(f"base {source!r} has no config.json; expected a Transformers model folder")
    if path.is_file():
        if path.suffix == ".json":
            return source
        raise BaseNotFoundError(f"base {source!r} is a file; expected a Transformers model folder")
    check_on_hub(source, revision)
    return source


def refuse_revision(base: str | Path, revision: str | None) -> None:
    """Refuse a revision of a base that lies on this machine, where it would choose nothing.

    Raises:
        SettingError: If there is one.
    """
    if revision is not None:
        raise SettingError(
            f"revision {revision!r} chooses among a hub repository's commits, and base {str(base)!r} is on this "
            "machine as it is: leave the revision out (null), or name the hub id"
        )
