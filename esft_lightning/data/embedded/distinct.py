"""Draw until enough DIFFERENT things have come: the loop that every generated task shares.

This file knows nothing of tasks, rows or seeds; it refuses to return fewer things than were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["draw_distinct"]

Drawn = TypeVar("Drawn")


def draw_distinct(draw: Callable[[], Drawn], key: Callable[[Drawn], Hashable], count: int, what: str) -> list[Drawn]:
    """Call `draw` until `count` results with different keys have come.

    Args:
        draw: Makes one thing, at random.
        key: What makes two things the same, for example the prompt of a row.
        count: How many to return, in the order in which they were first drawn.
        what: Name used in the error, for example `"law training rows"`.

    Returns:
        `count` things, all with different keys.

    Raises:
        ValueError: If `count` is negative, or the generator is exhausted: 50 draws in a row (or `count`, whichever is
            more) brought nothing new.
    """
    if count < 0:
        raise ValueError(f"{what}: count is {count}; expected 0 or more")
    found: dict[Hashable, Drawn] = {}
    patience = max(50, count)
    misses = 0
    while len(found) < count:
        drawn = draw()
        if found.setdefault(key(drawn), drawn) is drawn:
            misses = 0
            continue
        misses += 1
        if misses > patience:
            raise ValueError(f"{what}: {count} asked for, but only {len(found)} different ones could be drawn")
    return list(found.values())
