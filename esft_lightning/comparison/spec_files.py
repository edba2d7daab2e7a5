"""The files that a run reads besides its base: their content decides its result as much as its settings do."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from esft_lightning.comparison.run_spec import RunSpec
from esft_lightning.embedded import is_embedded
from esft_lightning.embedded.rows import ROWS
from esft_lightning.identity import content_digest, key_of

# Settings that may name a file or folder in a bare word; any setting's value with a slash or a dot may, too.
_PATH_SUFFIXES = ("_files", "_file", "_id", "_source", "_config", "_path", "_folder", "adapter", "profile")


def files_digest(spec: RunSpec) -> str:
    """Digest of what a spec's files hold: those it names, a strategy's source from outside, the embedded rows' version.

    Args:
        spec: A run.

    Returns:
        16 hexadecimal digits; empty where the spec reads nothing that is on this machine.
    """
    contents = {
        f"{group} {place}": [content_digest(path) for path in paths]
        for group in ("strategy_args", "data", "model")
        for place, text in _texts(getattr(spec, group))
        if (paths := _paths(place, text))
    }
    if is_embedded(spec.base) or "embedded" in (spec.data.get("source", "embedded"), spec.data.get("general_source")):
        contents["embedded rows"] = [str(ROWS)]
    if source := _source_file(spec.strategy):
        contents["strategy"] = [content_digest(source)]
    return key_of(contents) if contents else ""


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a setting, with the dotted name of the setting it stands in."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, place)


def _paths(place: str, text: str) -> list[Path]:
    """The files and folders that a text names, in order; a pattern names all that match it."""
    if not (place.endswith(_PATH_SUFFIXES) or "/" in text or "." in text) or "\n" in text or len(text) > 4096:
        return []
    return [Path(path) for path in sorted(glob.glob(text, recursive=True))] or [  # noqa: PTH207 (absolute patterns)
        path for path in [Path(text)] if path.exists()
    ]


def _source_file(strategy: str) -> Path | None:
    """The file of a strategy that is no part of this library; None where there is none."""
    module = strategy.rpartition(".")[0]
    if not module or module.startswith("esft_lightning."):
        return None
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return None  # the run itself says that the class path leads nowhere
    return Path(found.origin) if found is not None and found.origin and Path(found.origin).is_file() else None
