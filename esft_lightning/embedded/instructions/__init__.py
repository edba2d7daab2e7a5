r"""The instruction stage: what a base learns besides its world's text, in many formats and in few-shot prompts.

Copying, lookups, records filled in from sentences, lists, notes, JSON, glossaries, house rules, arithmetic in steps,
short programs, changes shown by examples; most kinds are asked after none to four solved questions. Nothing here has
a row, a template or an answer form of the six tasks; made-up words, names and numbers are those of the pretraining
pool.

    chats(rng)      -> ("Wesmer: 412, Holder: K3\nHolder?", "K3"), …
    documents(rng)  -> the same questions as lists of examples, in other layouts
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from esft_lightning.embedded.instructions.arithmetic import amounts, steps
from esft_lightning.embedded.instructions.by_example import by_example
from esft_lightning.embedded.instructions.checkable import FORMS, echo_text, lookup_text
from esft_lightning.embedded.instructions.copying import copies, parts, sayings
from esft_lightning.embedded.instructions.glossaries import glossaries
from esft_lightning.embedded.instructions.lookups import lists, paragraphs, tables
from esft_lightning.embedded.instructions.programs import outputs, written
from esft_lightning.embedded.instructions.questions import Kind, chat
from esft_lightning.embedded.instructions.records import records
from esft_lightning.embedded.instructions.rules import house_rules, prices, sorting
from esft_lightning.embedded.instructions.words import NUMBERS, WORDS, copy_value, copy_word

__all__ = [
    "FORMS",
    "KINDS",
    "NUMBERS",
    "WORDS",
    "chats",
    "copy_value",
    "copy_word",
    "documents",
    "echo_text",
    "lookup_text",
]

KINDS: dict[Kind, float] = {
    records: 20,
    lists: 10,
    tables: 6,
    paragraphs: 9,
    glossaries: 13,
    house_rules: 8,
    prices: 4,
    sorting: 5,
    by_example: 9,
    copies: 5,
    parts: 5,
    sayings: 4,
    steps: 6,
    amounts: 3,
    outputs: 5,
    written: 5,
}
"""Kind of question → how often it is asked."""
_KINDS, _WEIGHTS = list(KINDS), list(KINDS.values())
_LAYOUTS = (
    "{q} {a}",
    "Q: {q}\nA: {a}",
    "Input: {q}\nOutput: {a}",
    "{q}\n{a}",
    "Question: {q}\nAnswer: {a}",
    "> {q}\n{a}",
)


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Endless ``(user, assistant)`` pairs, few-shot prompts among them."""
    while True:
        yield chat(rng.choices(_KINDS, _WEIGHTS)[0], rng)


def documents(rng: random.Random) -> Iterator[str]:
    """Endless lists of solved questions of one kind, and lines that are said again."""
    while True:
        if rng.random() < 0.2:
            yield rng.choice((echo_text, lookup_text))(rng)
            continue
        draw, layout = rng.choices(_KINDS, _WEIGHTS)[0](rng, True), rng.choice(_LAYOUTS)
        solved = [
            layout.format(q=question, a=answer) for question, answer in (draw(rng) for _ in range(rng.randint(2, 9)))
        ]
        yield rng.choice(("\n\n", "\n\n", "\n")).join(solved)
