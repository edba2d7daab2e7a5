"""A wrong name, and the right one that it resembles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(wrong: str, right: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The right name that resembles a wrong one most, whatever its case; None where none does.

    Args:
        wrong: The name that was given.
        right: The names that there are. One that begins or ends with the wrong one (`law`, `LawDataModule`) resembles
            it, and so does one that the wrong one begins or ends with (`ddpp`, `ddp`).
        cutoff: How alike other names must be, from 0 to 1.
    """
    names: dict[str, str] = {}
    for name in right:
        names.setdefault(_plain(name), name)
    plain = _plain(wrong)
    if near := difflib.get_close_matches(plain, names, n=1, cutoff=cutoff):
        return names[near[0]]
    related = [name for name in names if min(len(name), len(plain)) > 2 and (_overlaps(name, plain))]
    return names[min(related, key=lambda name: abs(len(name) - len(plain)))] if related else None


def unknown(what: str, wrong: object, right: Iterable[str]) -> str:
    """The sentence about a name that is not on a list: the nearest right one, and the list.

    Args:
        what: What is named, such as `task`.
        wrong: The name that was given.
        right: The names that there are.
    """
    names = list(right)
    near = nearest(str(wrong), names)
    listed = f"xpected one of {', '.join(names)}"
    return f"unknown {what} {str(wrong)!r}; " + (f"e{listed}" if near is None else f"did you mean {near!r}? E{listed}")


def _overlaps(name: str, other: str) -> bool:
    return any(a.startswith(b) or a.endswith(b) for a, b in ((name, other), (other, name)))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
