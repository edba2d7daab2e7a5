"""Names that a package loads on first use, so that importing it starts no heavy library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    Args:
        package: Its `__name__`.
        homes: Public name → the module below the package that has it.

    Returns:
        The function, which raises AttributeError, with the names that there are, for any other.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(homes)}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load
