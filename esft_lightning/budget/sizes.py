"""Numbers with units, read and written: bytes, parameters, operations. Knows nothing else."""

from __future__ import annotations

import re

from esft_lightning.errors import SettingError

_UNITS = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Read a size such as `80GiB`, `24GB` or `512MiB`.

    Raises:
        ValueError: If it is none, or not above 0.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2].upper() not in _UNITS or float(match[1]) <= 0:
        raise SettingError(f"{text!r} is no size; expected a number above 0 and a unit, such as 80GiB or 24GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def show_bytes(size: float) -> str:
    """A size in GiB, or MiB below a hundredth of one."""
    gib = size / 2**30
    if gib >= 0.01:
        return f"{gib:,.2f} GiB" if gib < 100 else f"{gib:,.0f} GiB"
    return f"{size / 2**20:,.2f} MiB"


def show_count(number: float) -> str:
    """A count with three figures or more after it: 1.073B, 117.7M, 8.65k."""
    for limit, unit, digits in ((1e9, "B", 3), (1e6, "M", 1), (1e3, "k", 1)):
        if number >= limit:
            return f"{number / limit:,.{digits}f}{unit}"
    return f"{number:,.0f}"
