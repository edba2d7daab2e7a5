"""Files as a full disk, a killed process, another program or a bad cable leave them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STRANGE: list[Any] = [None, True, -1, 1e400, "x", "", [], {}, [[]], {"a": 1}, 10**30, float("nan"), 3.5]
_WHOLE = [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"PK\x03\x04", b"\x00" * 100, b"[" * 100_000, b'{"a": 1}\n']


def damaged(path: Path, count: int = 60, seed: int = 0) -> Iterator[bytes]:
    """Contents that resemble a good file's: cut, with bytes changed, replaced, or with another value in its JSON.

    Args:
        path: The good file.
        count: How many.
        seed: Which.
    """
    good, rng = path.read_bytes(), random.Random(seed)
    for number in range(count):
        content = bytearray(good)
        if number % 4 == 0:
            content = content[: rng.randrange(len(good))]
        elif number % 4 == 1:
            for _ in range(3):
                content[rng.randrange(len(good))] = rng.randrange(256)
        elif number % 4 == 2 or path.suffix != ".json":
            content = bytearray(_WHOLE[number // 4 % len(_WHOLE)])
        else:
            content = bytearray(json.dumps(_with_a_strange_value(json.loads(good), rng)).encode())
        yield bytes(content)


def _with_a_strange_value(content: Any, rng: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in entries:
            places.append((value, key))
            walk(inner)

    walk(content)
    holder, key = rng.choice(places)
    if isinstance(holder, dict) and rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice(_STRANGE)
    return content
