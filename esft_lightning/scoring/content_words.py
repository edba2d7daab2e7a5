"""Content words of an English sentence, and how many of them two sentences share.

``"The red birds did not eat the apple."`` → ``["red", "birds", "did not eat", "apple"]``

Articles, pronouns and prepositions are no content; an auxiliary or a negation belongs to the word after it, so that a
lost "not" or a wrong tense costs the verb. This file knows English function words and nothing else.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["content_f1", "content_words"]

_FUNCTION = frozenset(
    "a an the this that these those and or but of to in on at by for from with into as it its i you he she we they me "
    "him her us them my your his our their there".split()
)
_BOUND = frozenset(
    ("do", "does", "did", "will", "is", "are", "was", "were", "has", "have", "had", "not", "never", "no")
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def content_words(text: str) -> list[str]:
    """The content words of a text in their order, lower-cased, with what is bound to them; "does" counts as "do"."""
    words: list[str] = []
    bound: list[str] = []
    for word in _WORD.findall(text.lower()):
        if word in _BOUND:
            bound.append("do" if word == "does" else word)
        elif word not in _FUNCTION:
            words.append(" ".join((*bound, word)))
            bound = []
    return words + ([" ".join(bound)] if bound else [])


def content_f1(prediction: str, references: Sequence[str]) -> float:
    """F1 of the content words of an answer against the best reference, each word as often as it stands.

    Args:
        prediction: The answer.
        references: One or more references.

    Returns:
        F1 in [0, 1]; 0 where either has no content word.
    """
    said = _counted(prediction)

    def against(reference: str) -> float:
        meant = _counted(reference)
        shared = sum(min(count, said[word]) for word, count in meant.items() if word in said)
        return 2 * shared / (said.total() + meant.total()) if shared else 0.0

    return max(against(reference) for reference in references)


@lru_cache(maxsize=16384)  # rote baselines meet the same texts millions of times
def _counted(text: str) -> Counter[str]:
    return Counter(content_words(text))
