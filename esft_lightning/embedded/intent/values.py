"""Values of slots: words, names, numbers and times of a pool, and tables of codes."""

import random

from esft_lightning.embedded.intent.wordings import CODED
from esft_lightning.embedded.pools import Pool, name, number, row_pool_of, word

__all__ = ["code_table", "value"]


def value(rng: random.Random, slot: str, pool: Pool) -> str:
    """A value that the answer copies from the utterance."""
    if slot == "minutes":
        return str(number(rng, 2, 99, pool))
    if slot == "degrees":
        return str(number(rng, 10, 40, pool))
    if slot == "time":
        while True:
            time = f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d}"
            if pool == "pretraining" or row_pool_of(f"time {time}") == pool:
                return time
    return word(rng, pool) if slot in ("label", "about", "item") else name(rng, pool)


def code_table(rng: random.Random, slot: str, entries: int, pool: Pool) -> dict[str, str]:
    """Some values of a coded slot with a code each: a capital letter and a digit.

    Codes are too few for a pool of pretraining's own; those of train, validation and test are apart.
    """
    codes: list[str] = []
    while len(codes) < entries:
        code = f"{rng.choice('ABCDEFGHJKLMNPQRSTUVWXYZ')}{rng.randint(1, 9)}"
        if code not in codes and (pool == "pretraining" or row_pool_of(f"code {code}") == pool):
            codes.append(code)
    return dict(zip(rng.sample(list(CODED[slot]), entries), codes, strict=True))
