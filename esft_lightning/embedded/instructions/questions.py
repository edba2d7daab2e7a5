r"""Few-shot prompts in general: one kind of question, asked after none to four solved ones.

A *kind* fixes what its questions share (wording, format, tables) and hands out a function that draws one question with
its answer::

    draw = kind(rng, shown=True)     # examples will be shown, so the wording may leave out what is wanted
    draw(rng)                        # ("Wesmer 41, Holder 7 ->", "7 | 41")

Solved questions stand before the open one in one user turn, a blank line between them, as evaluation prompts have them.
This file knows no kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["Draw", "Kind", "chat"]

Draw = Callable[[random.Random], tuple[str, str]]
"""Draws one question with its answer."""
Kind = Callable[[random.Random, bool], Draw]
"""Fixes wording, format and tables; told whether solved questions will be shown."""

SHOTS = (0, 1, 2, 3, 4)
_SHOT_WEIGHTS = (36, 14, 16, 16, 18)
LONGEST = 4000
"""Characters of a prompt; examples that would make it longer are left out."""


def chat(kind: Kind, rng: random.Random, shots: int | None = None) -> tuple[str, str]:
    """One user turn and its answer: an open question of `kind` after some solved ones.

    Args:
        kind: What is asked.
        rng: Source of randomness.
        shots: Solved questions; drawn when None.
    """
    count = rng.choices(SHOTS, _SHOT_WEIGHTS)[0] if shots is None else shots
    draw = kind(rng, count > 1)
    question, answer = draw(rng)
    solved: dict[str, str] = {}
    length = len(question)
    for _ in range(count):
        asked, answered = draw(rng)
        length += len(asked) + len(answered) + 3
        if length <= LONGEST and asked != question:
            solved[asked] = f"{asked} {answered}"
    return "\n\n".join([*solved.values(), question]), answer
