r"""Probes of in-context ability: what is not in any weight, and has to be taken from the prompt.

| probe | an answer needs | rote baseline |
|---|---|---|
| ``copy`` | a line of made-up words and numbers again | the last shot's answer |
| ``lookup`` | the value that stands beside a name in a list | a value of the list at random |
| ``fill_in`` | a sentence's values in the form that the shots have | the last shot's answer |
| ``format`` | a line changed as the shots show | the open line as it is |

Every row shows solved questions before the open one (:data:`SHOTS`), in wordings of its own, and takes names, words and
numbers from the validation pool, which pretraining never reads. Nothing of the six tasks stands here either. A row::

    {"prompt": "User: Entry … \n\nAssistant:", "answer": "Wesmer", "rote": {"last_shot": "Holder", "anything": 0.2}}

``rote`` has, for each baseline, its answer, or the chance that it is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from esft_lightning.embedded.pools import name, number, word

__all__ = ["PROBES", "SHOTS", "in_context_probes"]

SHOTS = {"copy": 1, "lookup": 1, "fill_in": 3, "format": 4}
"""Probe → solved questions before the open one; where the form is not told in words, it takes more."""
_COUNT = 150
_POOL = "validation"

Drawn = tuple[str, str, float]  # question, answer, chance of an answer taken from the question at random


def _item(rng: random.Random) -> str:
    kind = rng.randrange(3)
    if kind == 2:
        return str(number(rng, 100, 9999, _POOL))
    return name(rng, _POOL) if kind else word(rng, _POOL)


def _items(rng: random.Random, count: int) -> list[str]:
    items: dict[str, None] = {}
    while len(items) < count:
        items.setdefault(_item(rng))
    return list(items)


def _copy(rng: random.Random) -> Callable[[], Drawn]:
    ask = rng.choice(("Write once more what follows: {}", "The same line, please: {}", "Hand this on unchanged: {}"))
    count = rng.randint(2, 6)

    def draw() -> Drawn:
        line = " ".join(_items(rng, count))
        return ask.format(line), line, 0.0

    return draw


def _lookup(rng: random.Random) -> Callable[[], Drawn]:
    line = rng.choice(("{} :: {}", "{} ... {}", "{} => {}"))
    ask = rng.choice(("Entry for {}:", "Register of {}:", "Beside {} stands"))
    count = rng.randint(4, 8)

    def draw() -> Drawn:
        items = _items(rng, 2 * count)
        pairs = list(zip(items[:count], items[count:], strict=True))
        key, value = rng.choice(pairs)
        return "\n".join([*(line.format(*pair) for pair in pairs), ask.format(key)]), value, 1 / count

    return draw


_SENTENCES = (
    ("{a} paid {n} in the town of {b}.", "abn"),
    ("At the mill of {b} waits {a} with {n} sacks.", "abn"),
    ("The ship {a} left {b} under flag {n}.", "abn"),
    ("{n} was the lot that {a} drew before {b}.", "abn"),
    ("Nobody but {a} has seen {b} and number {n}.", "abn"),
)
_OBJECTS: tuple[Callable[[dict[str, str]], str], ...] = (
    lambda v: json.dumps({"one": v["a"], "two": v["b"], "three": v["n"]}),
    lambda v: json.dumps({"n": v["n"], "a": v["a"]}),
    lambda v: json.dumps([v["b"], v["n"]]),
    lambda v: f"* place: {v['b']}\n* who: {v['a']}",
    lambda v: f"({v['n']}) {v['a']}, {v['b']}",
    lambda v: f"who={v['a']} nr={v['n']}",
)


def _fill_in(rng: random.Random) -> Callable[[], Drawn]:
    (sentence, _), render = rng.choice(_SENTENCES), rng.choice(_OBJECTS)

    def draw() -> Drawn:
        first, second = name(rng, _POOL), name(rng, _POOL)
        values = {"a": first, "b": second, "n": str(number(rng, 100, 9999, _POOL))}
        return sentence.format(**values), render(values), 0.0

    return draw


_CHANGES: tuple[Callable[[Sequence[str]], str], ...] = (
    lambda parts: " & ".join(parts),
    lambda parts: f"{parts[-1]} before {parts[0]}",
    lambda parts: f"{{{parts[1]}}}",
    lambda parts: "~".join(reversed(parts)),
    lambda parts: f"{parts[0]}: {parts[0]}",
    lambda parts: f"<< {parts[-1]} >>",
)


def _format(rng: random.Random) -> Callable[[], Drawn]:
    change, count, cue = rng.choice(_CHANGES), rng.randint(2, 4), rng.choice((" >>", "\nthen", " ~>"))

    def draw() -> Drawn:
        parts = _items(rng, count)
        return " ".join(parts) + cue, change(parts), 0.0

    return draw


PROBES: dict[str, Callable[[random.Random], Callable[[], Drawn]]] = {
    "copy": _copy,
    "lookup": _lookup,
    "fill_in": _fill_in,
    "format": _format,
}


def _row(make: Callable[[random.Random], Callable[[], Drawn]], rng: random.Random, shots: int) -> dict:
    draw = make(rng)
    solved = [draw() for _ in range(shots)]
    question, answer, chance = draw()
    body = "\n\n".join([*(f"{asked} {answered}" for asked, answered, _ in solved), question])
    rote = {"last_shot": solved[-1][1], "question": question, "anything": chance}
    return {"prompt": f"User: {body}\n\nAssistant:", "answer": answer, "rote": rote}


def in_context_probes(limit: int | None = None, seed: int = 0) -> dict[str, list[dict]]:
    """The rows of every probe.

    Args:
        limit: Rows per probe; 150 when None.
        seed: Seed of the draw.

    Returns:
        Probe → rows; see the module's docstring for their keys.
    """
    return {
        probe: [
            _row(make, random.Random(f"in-context-{probe}-{seed}-{place}"), SHOTS[probe])
            for place in range(_COUNT if limit is None else limit)
        ]
        for probe, make in PROBES.items()
    }
