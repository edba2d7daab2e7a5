"""The form of a generated row, and the drawing of many distinct ones.

Knows the two shapes that every task shares (`messages` for training, `prompt`/`raw_answers` for evaluation) and how to
draw `count` rows that differ in their prompt. Knows nothing of any task: a task's module has a function
`example(rng, pool)` that draws one example out of names, values and wordings of that pool.
"""

import random
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from esft_lightning.embedded.pools import Pool

__all__ = ["DRAWS_PER_ROW", "ROWS", "Example", "distinct", "evaluation_row", "task_rows", "training_row"]

ROWS = 2
"""Counts up with every change of a row or probe of the embedded benchmark, so that no finished run on other rows is
taken for one on these. 1 were the rows of the results published in November 2026."""
DRAWS_PER_ROW = 60
"""Draws spent on one row before the space of distinct prompts counts as exhausted."""


class Example(NamedTuple):
    """One drawn example.

    Attributes:
        user: What the user says.
        answer: The reference answer.
        extras: What the scorer needs besides the answer; only evaluation rows carry it.
    """

    user: str
    answer: str
    extras: dict[str, Any] = {}  # noqa: RUF012 - a NamedTuple default, never changed in place


def task_rows(task: str, pool: Pool, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct rows of a task; rows of two pools share no wording, name or copied value.

    Args:
        task: Name of a module beside this one.
        pool: `train` gives training rows; `validation` and `test` give evaluation rows.
        count: How many.
        seed: Fixes the rows; the first n of a longer draw are the draw of n.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    example = import_module(f"esft_lightning.embedded.{task}").example
    drawn = distinct(lambda rng: example(rng, pool), count, f"{task} {pool} {seed}")
    form = training_row if pool == "train" else evaluation_row
    return [form(made) for made in drawn]


def distinct(draw: Callable[[random.Random], Example], count: int, seed: int | str) -> Iterator[Example]:
    """Draw `count` examples with pairwise different prompts; the first n of a longer draw are the draw of n.

    Args:
        draw: Draws one example from a generator of random numbers.
        count: How many distinct examples to yield.
        seed: Fixes the whole sequence.

    Yields:
        Examples in drawing order.

    Raises:
        ValueError: When the task cannot supply that many distinct prompts.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    for _ in range(count):
        for _ in range(DRAWS_PER_ROW):
            example = draw(rng)
            if example.user not in seen:
                break
        else:
            raise ValueError(
                f"only {len(seen)} distinct prompts were found where {count} were asked for; ask for fewer rows"
            )
        seen.add(example.user)
        yield example


def training_row(example: Example) -> dict[str, Any]:
    """Return the example as a training row: `{"messages": [user, assistant]}`."""
    return {
        "messages": [
            {"role": "user", "content": example.user},
            {"role": "assistant", "content": example.answer},
        ]
    }


def evaluation_row(example: Example) -> dict[str, Any]:
    """Return the example as an evaluation row: `{"prompt", "raw_answers"}` and the example's extras."""
    return {"prompt": f"User: {example.user}\n\nAssistant:", "raw_answers": [example.answer], **example.extras}
