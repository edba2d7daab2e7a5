"""Versions of Python, of this library and of packages, without importing any of them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """What is installed.

    Args:
        packages: By their names on the package index; those that are not there are left out.

    Returns:
        Name → version, Python and this library first.
    """
    from esft_lightning import __version__

    installed = {"python": platform.python_version(), "esft-lightning": __version__}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
