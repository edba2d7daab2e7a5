"""Changes of a line that examples show: nothing says in words what is wanted, or few words do.

Wesmer 41 lamp -> lamp/41/Wesmer
Holder 7 salt  -> salt/7/Holder
Tamven 93 road ->
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import copy_value, copy_word, noun
from esft_lightning.embedded.pools import name, number

__all__ = ["by_example"]

Change = Callable[[Sequence[str]], list[str]]

_CHANGES: dict[str, Change] = {
    "in reverse order": lambda parts: list(reversed(parts)),
    "the first alone": lambda parts: [parts[0]],
    "the last alone": lambda parts: [parts[-1]],
    "without the first": lambda parts: list(parts[1:]),
    "without the last": lambda parts: list(parts[:-1]),
    "first and last swapped": lambda parts: [parts[-1], *parts[1:-1], parts[0]],
    "as they are": list,
    "each twice": lambda parts: [part for part in parts for _ in range(2)],
    "the first at the end": lambda parts: [*parts[1:], parts[0]],
    "in alphabetical order": lambda parts: sorted(parts, key=str.lower),
    "the second alone": lambda parts: [parts[1]],
    "the first two": lambda parts: list(parts[:2]),
}
_FORMS: dict[str, Callable[[str], str]] = {
    "": str,
    " in brackets": lambda part: f"[{part}]",
    " in quotation marks": lambda part: f'"{part}"',
    " as tags": lambda part: f"<{part}>",
    " with a hash": lambda part: f"#{part}",
    " with a stop": lambda part: f"{part}.",
}
_JOINTS = (" ", ", ", "/", " | ", "-", " + ", "; ", "\n")
_CUES = (" ->", "\nOutput:", " =>", "\nbecomes", " =", "\nOut:", " :")


def by_example(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a line to be changed as the examples before it were."""
    (said, change), (form_said, form) = rng.choice(list(_CHANGES.items())), rng.choice(list(_FORMS.items()))
    before, after, cue = rng.choice(_JOINTS[:7]), rng.choice(_JOINTS), rng.choice(_CUES)
    head, tail = ((noun(rng), "") if rng.random() < 0.5 else ("", noun(rng))) if rng.random() < 0.25 else ("", "")
    count = rng.randint(3, 5)
    values = [
        rng.choice((copy_value, copy_word, name, lambda rng: str(number(rng, 1, 999)), noun)) for _ in range(count)
    ]
    opening = rng.choice(("", "", "Input: ", "Line: ", "In: "))
    words = ""
    if not shown or rng.random() < 0.25:
        words = f"Write the parts {said}{form_said}"
        words += f", then {tail}" if tail else ""
        words += f", after the word {head}" if head else ""
        words += f", with {after!r} between them.\n" if len(change(["a", "b", "c"])) > 1 or head or tail else ".\n"

    def draw(rng: random.Random) -> tuple[str, str]:
        parts = [value(rng) for value in values]
        changed = [form(part) for part in change(parts)]
        answer = after.join(part for part in (head, *changed, tail) if part)
        return f"{words}{opening}{before.join(parts)}{cue}", answer

    return draw
