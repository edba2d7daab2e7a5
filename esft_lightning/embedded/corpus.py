"""The pretraining mixture of the tiny model: the text of every domain, and how much is read of each.

Generated domains come from the modules beside this one (``documents``, and ``chats`` where a domain has them); real
text from :mod:`esft_lightning.embedded.real_text`. Of generated text one text in forty, told by its hash, is
held out (:func:`esft_lightning.embedded.pools.held_out`); of real text some files and topics are. Rows of the
six tasks are never part of the mixture: names, copied values and contents of validation and test rows are of pools
that no text here is made of, however much is read. Where sums of their own come to stand side by side, as in a list of
solved questions, and make a pair of steps of another pool, the text is left out.

Pretraining opens with a short part of echoes and ends in an instruction stage, which reads mostly ``instructions``.
This file yields texts; rows of tokens are packed in :mod:`esft_lightning.embedded.packed_rows`.
"""

from __future__ import annotations

import hashlib
import importlib
import random
from collections.abc import Iterator
from functools import cache
from itertools import islice

from esft_lightning.embedded import real_text
from esft_lightning.embedded.math import works_only
from esft_lightning.embedded.pools import held_out as is_held_out

__all__ = ["OPENING", "STAGE", "WEIGHTS", "chat_text", "corpus_digest", "domain_texts", "everything", "held_out_texts"]

WEIGHTS: dict[str, float] = {
    "math": 0.13,
    "code": 0.10,
    "general": 0.15,
    "intent": 0.06,
    "summary": 0.06,
    "law": 0.06,
    "translation": 0.08,
    "source": 0.05,
    "reference": 0.01,
    "instructions": 0.27,
    "echo": 0.03,
}
"""Share of the tokens of each domain between the opening and the instruction stage."""
OPENING: dict[str, float] = {"echo": 0.8, "instructions": 0.2}
"""Share of the tokens in the opening: copying from the context comes first, in short rows."""
STAGE: dict[str, float] = {
    "math": 0.09,
    "code": 0.07,
    "general": 0.13,
    "intent": 0.03,
    "summary": 0.03,
    "law": 0.03,
    "translation": 0.05,
    "source": 0.02,
    "reference": 0.01,
    "instructions": 0.53,
    "echo": 0.01,
}
"""Share of the tokens in the instruction stage."""
_CHAT_SHARE = {"math": 0.7, "code": 0.7, "general": 0.65, "instructions": 0.8}  # of a domain's texts


def chat_text(user: str, assistant: str) -> str:
    """A chat as pretraining reads it; the begin and end tokens are added with the token ids."""
    return f"User: {user}\n\nAssistant: {assistant}"


def _generated(domain: str, rng: random.Random) -> Iterator[str]:
    module = importlib.import_module(f"esft_lightning.embedded.{domain}")
    documents = module.documents(random.Random(rng.random()))
    chats: Iterator[tuple[str, str]] = module.chats(random.Random(rng.random())) if domain in _CHAT_SHARE else iter(())
    while True:
        if rng.random() < _CHAT_SHARE.get(domain, 0.0):
            text = chat_text(*next(chats))
        else:
            text = next(documents)
        if works_only(text, "pretraining"):
            yield text


def domain_texts(domain: str, seed: int | str, held_out: bool = False) -> Iterator[str]:
    """Endless texts of one domain of :data:`WEIGHTS`, chats among documents where the domain has chats.

    Args:
        domain: A key of :data:`WEIGHTS`.
        seed: Seed of the stream.
        held_out: Only the texts that pretraining never reads, instead of those that it may.

    Raises:
        KeyError: ``domain`` is not a domain of the mixture.
    """
    if domain not in WEIGHTS:
        raise KeyError(f"no domain {domain!r} in the pretraining mixture; the domains are {', '.join(WEIGHTS)}")
    rng = random.Random(f"{domain}-{seed}")
    if domain in real_text.REAL:
        yield from real_text.texts(domain, rng, held_out)
    yield from (text for text in _generated(domain, rng) if is_held_out(text) == held_out)


def held_out_texts(domain: str, count: int, seed: int = 0) -> list[str]:
    """``count`` texts of ``domain`` that pretraining never reads."""
    return list(islice(domain_texts(domain, f"held-out-{seed}", held_out=True), count))


@cache
def corpus_digest() -> str:
    """A short name for what pretraining reads: another one where mixture, generators or Python's own text differ."""
    digest = hashlib.blake2b(repr((OPENING, WEIGHTS, STAGE)).encode(), digest_size=8)
    for domain in WEIGHTS:
        for text in islice(domain_texts(domain, "digest"), 100):
            digest.update(text.encode())
    return digest.hexdigest()


def everything(characters: int, seed: int | str = 0) -> Iterator[str]:
    """Texts of all domains, stage included, about as many characters as asked for, each domain by its larger share."""
    shares = {domain: max(WEIGHTS[domain], STAGE[domain]) for domain in WEIGHTS}
    for domain, share in shares.items():
        left = characters * share / sum(shares.values())
        for text in domain_texts(domain, seed):
            yield text
            left -= len(text)
            if left <= 0:
                break
