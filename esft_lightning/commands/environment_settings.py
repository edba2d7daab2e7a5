"""Settings that come from the environment, `${oc.env:NAME}`: known again where settings are written.

A token that a logger gets that way must not end up in the `config.yaml` of a run, nor in what `--print_config` prints.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jsonargparse import Namespace
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

_SHORTEST_SECRET = 8  # shorter values (`1`, `cpu`) also stand in settings that have nothing to do with the variable

_texts: dict[str, str] = {}  # full key of a setting → the text that stood there
_values: dict[str, str] = {}  # value of a variable → its name


def remember_environment(verbs: Collection[str]) -> None:
    """Forget what was resolved before, and keep in mind what will be.

    Args:
        verbs: A key may begin with one of them, and settings of a verb alone do without.
    """

    def resolved(*arguments: Any, _node_: Any) -> Any:
        value, key = oc.env(*arguments), _node_._get_full_key(None)
        verb, _, rest = key.partition(".")
        _texts[rest if verb in verbs else key] = _texts[key] = str(_node_._value())
        if isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
            _values[value] = str(arguments[0])
        return value

    _texts.clear()
    _values.clear()
    OmegaConf.register_resolver("oc.env", resolved, replace=True, annotation_validation="off")


def with_environment_names(settings: Namespace) -> Namespace:
    """A copy of settings as they were given: with `${oc.env:NAME}`, also where another setting refers to such a one.

    Args:
        settings: A verb's settings, or those of all verbs.
    """
    return _given(settings.clone(), "") if _texts else settings


def _given(value: Any, key: str) -> Any:
    if key in _texts:
        return _texts[key]
    if isinstance(value, Namespace | dict):
        entries = vars(value) if isinstance(value, Namespace) else value
        for name, entry in list(entries.items()):
            entries[name] = _given(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        return [_given(entry, f"{key}[{place}]") for place, entry in enumerate(value)]
    elif isinstance(value, str):
        for secret in sorted(_values, key=len, reverse=True):
            value = value.replace(secret, f"${{oc.env:{_values[secret]}}}")
    return value
