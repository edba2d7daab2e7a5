"""Settings of an experiment: `configs/experiments/NAME.yaml` holds one mapping for each preset, `tiny` and `paper`.

Where a file says `extends: OTHER`, the presets of `OTHER.yaml` come first and its own change them, key by key.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from esft_lightning.errors import SettingError

PRESETS = ("tiny", "paper")
OUTPUTS = {"tiny": Path("runs/paper"), "paper": Path("runs/paper_full_size")}
"""Where a preset's runs and sections go unless told otherwise."""
FOLDER = Path(__file__).resolve().parents[1] / "configs" / "experiments"
T = TypeVar("T")


def load_preset(name: str, preset: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The mapping of one preset, with `${…}` resolved.

    Args:
        name: The experiment.
        preset: `tiny` or `paper`.
        folder: Where the YAML files lie.

    Raises:
        ValueError: No such file or preset, or YAML that cannot be read; the file is named.
    """
    content = _read(folder / f"{name}.yaml", folder)
    if not isinstance(content.get(preset), Mapping):
        raise SettingError(
            f"{folder / name}.yaml: preset {preset!r} is missing; expected a mapping under each of {', '.join(PRESETS)}"
        )
    return dict(content[preset])


def _read(path: Path, folder: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.load(path)
        parent = content.pop("extends", None) if isinstance(content, DictConfig) else None
        if parent is not None:
            content = OmegaConf.merge(_read(folder / f"{parent}.yaml", folder), content)
        plain = OmegaConf.to_container(content, resolve=True)
    except FileNotFoundError as error:
        raise SettingError(f"{path}: no such file; every experiment has its settings there") from error
    except (OmegaConfBaseException, YAMLError) as error:
        raise SettingError(f"{path}: {error}") from error
    if not isinstance(plain, dict):
        raise SettingError(f"{path}: expected a mapping under each of {', '.join(PRESETS)}")
    return plain  # type: ignore[return-value]


def as_settings(kind: type[T], values: Mapping[str, Any], place: str) -> T:
    """Make a dataclass of a mapping.

    Args:
        kind: The dataclass.
        values: Its fields.
        place: Where they stand, for the error message.

    Raises:
        ValueError: A key that the dataclass does not have, with the nearest that it has, or a missing one.
    """
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(known)}"
            raise SettingError(f"{place}: unknown key {key!r}; {hint}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingError(f"{place}: {error}") from error
