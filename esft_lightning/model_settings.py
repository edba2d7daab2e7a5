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

from esft_lightning.assets import TINY, is_embedded
from esft_lightning.config_files import config_values, find_config, read_config

OF_A_MODEL = frozenset({
    "model.revision", "model.trust_remote_code", "model.dtype", "model.learning_rate_scale", "model.device_map",
    "model.attn_implementation", "model.gradient_checkpointing", "model.quantize_experts", "model.offload_folder",
    "model.general_ability", "data.sequence_length", "data.batch_size", "data.val_batch_size", "data.test_batch_size",
    "data.on_overflow", "data.cross_sample_attention", "data.padding_free", "data.max_prompt_tokens",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.precision",
    "trainer.accumulate_grad_batches", "trainer.max_steps", "trainer.val_check_interval",
})  # fmt: skip
"""What a base model is, what it needs to fit, and how long and how fast it learns."""


def without_other_models(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with each `-c FILE` found and checked, less what files say for another base.

    Args:
        arguments: A verb's arguments; later ones go before earlier ones, as in the parser.

    Returns:
        The arguments to parse. A file of which something is left out has become what is left of its content.

    Raises:
        SettingError: A file that does not exist.
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
    line = {place: (key.replace(".init_args.", "."), value) for place, key, value in _options(arguments)}
    bases = {place: value for place, (key, value) in line.items() if key == "model.base"}
    bases |= {place: str(base) for place, (_, content) in files.items() if (base := _base(content)) is not None}
    base = bases[max(bases)] if bases else None
    foreign = {place for place, (_, content) in files.items() if not _may_serve(_base(content), base)}
    kept = {key for key, _ in line.values()} | {
        key for place in files.keys() - foreign for key in _keys(files[place][1])
    }
    for place in foreign:
        name, content = files[place]
        own = [key for key in _keys(content) if key in OF_A_MODEL]
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


def _may_serve(own: Any, base: str | None) -> bool:
    """Whether the settings of a file that names `own` may be meant for `base`."""
    return own is None or base is None or "${" in f"{own}{base}" or same_model(str(own), base)


def _keys(content: dict[str, Any]) -> Iterator[str]:
    """Dotted keys of all settings, without `init_args`: `data.sequence_length`."""
    for group, settings in content.items():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if key == "init_args" and isinstance(value, dict):
                yield from (f"{group}.{inner}" for inner in value)
            else:
                yield f"{group}.{key}"


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
