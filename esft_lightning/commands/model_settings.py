"""Settings that are chosen for one base model are not taken over by another.

Rate scale, dtype, lengths and devices of `configs/models/tiny.yaml` are no good for a model of billions. Where a
command names another base than a configuration file, that file's settings of its model are left out, and a line says
so. Works on the arguments of the command line, before they are parsed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from esft_lightning.commands.config_files import config_values, find_config, read_config
from esft_lightning.embedded import TINY, is_embedded
from esft_lightning.errors import SettingError

OF_A_MODEL = frozenset({
    "model.revision", "model.trust_remote_code", "model.dtype", "model.learning_rate_scale", "model.device_map",
    "model.attn_implementation", "model.gradient_checkpointing", "model.quantize_experts", "model.offload_folder",
    "model.general_ability", "data.sequence_length", "data.batch_size", "data.val_batch_size", "data.test_batch_size",
    "data.on_overflow", "data.cross_sample_attention", "data.padding_free", "data.max_prompt_tokens",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.precision",
    "trainer.accumulate_grad_batches", "trainer.max_steps", "trainer.val_check_interval",
})  # fmt: skip
"""What a base model is, what it needs to fit, and how long and how fast it learns."""

_LINKED = {
    "data.tokenizer": ("model.base", "tiny"),
    "data.revision": ("model.revision", None),
    "data.trust_remote_code": ("model.trust_remote_code", False),
}


def without_other_models(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with each `-c FILE` found and checked, less what files say for another base.

    Args:
        arguments: A verb's arguments; later ones go before earlier ones, as in the parser.

    Returns:
        The arguments to parse. A file of which something is left out has become what is left of its content.

    Raises:
        SettingError: A file that does not exist, or a setting of the data that is always the model's.
        FileError: A file that cannot be read as settings.
    """
    given = list(arguments)
    files: dict[int, tuple[str, dict[str, Any]]] = {}
    for place, value in config_values(arguments):
        path = find_config(value)
        if path is not None:
            files[place] = (str(path), read_config(path))
            given[place] = given[place].removesuffix(value) + str(path)
        elif (content := _settings_in(value)) is not None:
            files[place] = (value, content)
    given_at: dict[str, dict[int, Any]] = {}
    for place, key, value in _options(arguments):
        given_at.setdefault(key.replace(".init_args.", "."), {})[place] = value
    on_the_line = set(given_at)
    for place, (_, content) in files.items():
        for key, value in _settings(content):
            given_at.setdefault(key, {})[place] = value
    last = {key: values[max(values)] for key, values in given_at.items()}
    _check_links(last)
    base = last.get("model.base")
    foreign = {place for place, (_, content) in files.items() if not _may_serve(_base(content), base)}
    kept = on_the_line | {key for place in files.keys() - foreign for key, _ in _settings(files[place][1])}
    for place in foreign:
        name, content = files[place]
        own = [key for key, _ in _settings(content) if key in OF_A_MODEL]
        if own:
            given[place] = given[place].removesuffix(name) + yaml.safe_dump(_without(content, own))
            _say(name, str(_base(content)), str(base), [key for key in own if key not in kept])
    return given


def same_model(first: str, second: str) -> bool:
    """Whether two names of bases are of the same model: equal, both embedded, or a hub id and a copy of its repository.

    A copy is told by its folder's name (`/data/OLMoE-1B-7B-0924` of `allenai/OLMoE-1B-7B-0924`), or by its place in the
    hub's cache.
    """
    if first == second or (is_embedded(first) and is_embedded(second)):
        return True
    for name, other in ((first, second), (second, first)):
        if is_embedded(other) or not (Path(other).exists() or other.startswith(("/", ".", "~"))):
            continue  # no folder
        place = Path(other).expanduser().resolve()
        if is_embedded(name):
            return place == TINY.resolve()
        if name.count("/") == 1 and not Path(name).exists():
            copied = f"models--{name.replace('/', '--')}" in place.parts
            return copied or place.name == name.split("/")[1]
    return False


def _options(arguments: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Place, dotted key and value of every option."""
    for place, word in enumerate(arguments):
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            yield place, key.rstrip("+"), value if equals else "".join(arguments[place + 1 : place + 2])


def _settings_in(text: str) -> dict[str, Any] | None:
    """The settings that stand on the command line themselves; what they lack, the parser says."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("model") or {}, dict) else None


def _base(content: dict[str, Any]) -> Any:
    return (content.get("model") or {}).get("base")


def _may_serve(own: Any, base: Any) -> bool:
    """Whether the settings of a file that names `own` may be meant for `base`."""
    return own is None or base is None or "${" in f"{own}{base}" or same_model(str(own), str(base))


def _check_links(last: dict[str, Any]) -> None:
    """Refuse a setting that is always the model's, and would be without effect."""
    for key, (source, default) in _LINKED.items():
        if key in last and _plain(last[key]) != (wanted := _plain(last.get(source, default))):
            raise SettingError(
                f"{key} is {last[key]!r}, but is always {source} ({wanted}): set that one, and leave it out"
            )


def _plain(value: Any) -> str:
    """A value as text, whether YAML or the command line gave it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _settings(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys of all settings without `init_args`, such as `data.sequence_length`, and their values."""
    for group, settings in content.items():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key == "init_args" and isinstance(value, dict):
                yield from ((f"{group}.{inner}", setting) for inner, setting in value.items())
            else:
                yield f"{group}.{key}", value


def _without(content: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """The settings but for some; groups of which nothing is left go, too."""

    def rest(group: str, settings: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in settings.items() if f"{group}.{key}" not in keys}
        if isinstance(inner := kept.pop("init_args", None), dict) and (inner := rest(group, inner)):
            kept["init_args"] = inner
        return kept

    found = {group: rest(group, value) if isinstance(value, dict) else value for group, value in content.items()}
    return {group: value for group, value in found.items() if value != {}}


def _say(name: str, own: str, base: str, left_out: Sequence[str]) -> None:
    if left_out and os.environ.get("LOCAL_RANK", "0") == "0":  # once, not by every process that training starts
        print(
            f"{name} is for {own}, and the base is {base}: its {', '.join(left_out)} are left out and have their "
            "defaults; give what this base needs beside --model.base",
            file=sys.stderr,
        )
