"""Rows of the embedded tasks as (question, answer) pairs, made once for all tests."""

import re
from functools import cache

from esft_lightning.embedded.pools import POOLS, SYLLABLES, Pool
from esft_lightning.embedded.rows import task_rows

COUNTS: dict[Pool, int] = {"train": 4000, "validation": 200, "test": 500}
ROW_POOLS = tuple(COUNTS)
MADE_UP = re.compile(rf"\b(?:{'|'.join(SYLLABLES)}){{2,3}}\b", re.IGNORECASE)
"""A word that `pools.word` may have made."""


@cache
def rows(task: str, pool: Pool) -> list[dict]:
    return task_rows(task, pool, COUNTS[pool])


def pairs(task: str, pool: Pool) -> list[tuple[str, str]]:
    if pool == "train":
        return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows(task, pool)]
    return [
        (row["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:"), row["raw_answers"][0])
        for row in rows(task, pool)
    ]


def assert_apart(wordings: dict[Pool, tuple[str, ...]], what: str) -> None:
    """No two pools share a wording."""
    said = [wording for pool in POOLS for wording in set(wordings.get(pool, ()))]
    assert len(said) == len(set(said)), what
