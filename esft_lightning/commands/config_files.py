"""Configuration files of the command line: found beside the user or among those that come along, read, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from esft_lightning.errors import FileError, SettingError, one_line
from esft_lightning.nearest import nearest

_HERE = Path(__file__).parent
CONFIGS = next((path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()), _HERE / "configs")
"""The configurations that come along: `configs/` of a clone, which an installed package holds beside this file."""
_GROUPS = ("model", "data", "trainer", "affinity", "adapter", "budget", "routing", "termination", "checkpoint")


def config_values(arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Place and value of every `-c VALUE`, `--config VALUE` and `--config=VALUE`."""
    for place, word in enumerate(arguments):
        if word in ("-c", "--config"):
            if place + 1 < len(arguments):
                yield place + 1, arguments[place + 1]
        elif word.startswith(("--config=", "-c=")):
            yield place, word.partition("=")[2]


def find_config(name: str) -> Path | None:
    """The file that `-c NAME` means: a local one, or one that comes along as `configs/…`.

    Returns:
        The file; None where `name` is no path but settings themselves (`-c '{model: {base: tiny}}'`).

    Raises:
        SettingError: If there is no such file, or it is a folder.
    """
    path = Path(name).expanduser()
    if "\n" in name or ": " in name:
        return None
    if not path.exists() and (parts := PurePosixPath(path.as_posix()).parts)[:1] == ("configs",):
        path = CONFIGS.joinpath(*parts[1:])
    if path.is_dir():
        raise SettingError(f"-c {name} is a folder; expected a YAML file, such as configs/models/tiny.yaml")
    if path.exists():
        return path
    ours = ["/".join(("configs", *file.relative_to(CONFIGS).parts)) for file in sorted(CONFIGS.glob("*/*.yaml"))]
    beside = [file.as_posix() for file in sorted(Path(name).parent.glob("*.y*ml"))]
    near = nearest(name, [*beside, *ours], cutoff=0.8)
    hint = "" if near is None else f"; did you mean {near!r}?"
    raise SettingError(f"-c {name}: there is no such file (looked in {Path.cwd()}){hint}")


def read_config(path: Path) -> dict[str, Any]:
    """The settings of a YAML or JSON file.

    Raises:
        FileError: If it holds none, with the line.
        OSError: If it cannot be read.
    """
    try:
        content = yaml.load(path.read_bytes().decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise FileError(f"{path}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: not YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise FileError(f"{path} holds {kind}; expected settings, such as model: {{base: tiny}}")
    for group in _GROUPS:
        value = content.get(group)
        if value is not None and not isinstance(value, dict) and not (group == "data" and isinstance(value, str)):
            raise FileError(f"{path}: {group} is {value!r}; expected a mapping of its settings")
    return content


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping of distinct keys."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"{key.value!r} stands there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)
