"""What must stand in an `adapter_config.json` for its adapter to be loaded; a damaged one is refused by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NEEDED = ("format", "strategy", "base", "base_fingerprint", "lora", "parameters")
_PARTS = {"rank", "scaling"}
DTYPES = ("float32", "bfloat16", "float16", "float64")


def wrong_key(config: Any) -> str | None:
    """The first thing that is wrong with the content of an `adapter_config.json`, as a clause; None where nothing is.

    Args:
        config: The file's content.
    """
    if not isinstance(config, dict):
        return f"it holds a {type(config).__name__}; expected an object with {', '.join(_NEEDED)}"
    if missing := [key for key in _NEEDED if key not in config]:
        return f"{missing[0]!r} is missing; expected {', '.join(_NEEDED)}"
    for key, (is_right, expected) in _CHECKS.items():
        if key in config and not is_right(config[key]):
            return f"{key!r} is {str(config[key])[:60]!r}; expected {expected}"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_shapes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(shape, list) and all(map(_is_count, shape)) for shape in value.values()
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_low_rank(value: Any, further: frozenset[str] = frozenset()) -> bool:
    if value is None:
        return True
    if not isinstance(value, Mapping) or set(value) != _PARTS | further:
        return False
    scaling = value["scaling"]
    return _is_count(value["rank"]) and value["rank"] > 0 and isinstance(scaling, int | float)


def _is_lora(value: Any) -> bool:
    parts = value.get("parts") if isinstance(value, Mapping) else []
    return _is_low_rank(value, frozenset({"parts"})) and isinstance(parts, list) and all(map(_is_text, parts))


def _is_origin(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and isinstance(value.get("base") or {}, Mapping))


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "strategy": (_is_text, "a name"),
    "base": (_is_text, "a name or a folder"),
    "base_fingerprint": (_is_text, "a fingerprint"),
    "digest": (_is_text, "sha256:… of the tensors"),
    "parameters": (_are_shapes, "tensors and their shapes"),
    "lora": (_is_lora, "null, or rank, scaling and parts"),
    "expert_lora": (_is_low_rank, "null, or rank and scaling"),
    "dtype": (lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}"),
    "provenance": (_is_origin, "an object, and one under its key base"),
}
