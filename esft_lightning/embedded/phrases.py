"""Labels, and what is said for each: phrases of four pools, of which no two share one.

A line of a lexicon holds a label and four lists, of pretraining, train, validation and test; `; ` parts phrases::

    late: is not here after all these weeks / has not come yet; was due a week ago / has yet to arrive / never came
"""

from esft_lightning.embedded.pools import POOLS, Pool

__all__ = ["Phrases", "every_phrase", "read_phrases"]

Phrases = dict[str, dict[Pool, tuple[str, ...]]]
"""Label → pool → phrases."""


def read_phrases(lines: str) -> Phrases:
    """Read a lexicon.

    Raises:
        ValueError: If a line has not four parts, or a phrase stands twice.
    """
    made: Phrases = {}
    met: set[str] = set()
    for line in lines.strip().splitlines():
        label, said = line.strip().split(": ")
        parts = [tuple(part.split("; ")) for part in said.split(" / ")]
        made[label] = dict(zip(POOLS, parts, strict=True))
        for phrase in (phrase for part in parts for phrase in part):
            if phrase in met:
                raise ValueError(f"{phrase!r} is said for {label!r} and stands in the lexicon before; keep one of them")
            met.add(phrase)
    return made


def every_phrase(phrases: Phrases, label: str) -> tuple[str, ...]:
    """What is said for a label in any pool: for texts about words."""
    return tuple(phrase for pool in POOLS for phrase in phrases[label][pool])
