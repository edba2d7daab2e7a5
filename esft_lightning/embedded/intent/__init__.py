"""Intent: an utterance to a house, turned into JSON (an adaptation task, after the authors' own intent task).

One row (a prompt names a few intents with their slots, and gives the codes of some values)::

    user:      Put the request to the house of Tarnel into JSON.
               intents: call(to, device); light(room, state)
               device: phone=F4, tablet=B2, watch=W7
               room: hall=K4, study=B1, attic=Z9
               state: on=A3, off=C8, low=D5
               request: dim the lamp of the kitchen, no, the corridor
    assistant: {"intent": "light", "slots": {"room": "K4", "state": "D5"}}

Scored by the official rule (`esft_lightning.tasks.intent_score`): the intent equal and the set of slots equal, else 0.
That rule deletes spaces in the prediction only, so no value here holds one.

Held apart (`pools`): utterances, instructions, politeness and corrections (`wordings`); copied values: names, words,
numbers, times and codes. Shared: intents, slots, and how a value is said ("the corridor" is the hall). Nothing has to
be guessed: codes stand in the prompt, and pretraining reads which words mean the same (`reading`).
"""

import json
import random
import re

from esft_lightning.embedded.intent.reading import documents
from esft_lightning.embedded.intent.values import code_table, value
from esft_lightning.embedded.intent.wordings import CODED, CORRECTIONS, INSTRUCTIONS, POLITE, SCHEMA, UTTERANCES
from esft_lightning.embedded.pools import Pool, name
from esft_lightning.embedded.rows import Example

__all__ = ["documents", "example"]

_PLACE = re.compile(r"\{(\w+)\}")
_CORRECTED = 0.2
_ENTRIES = (3, 4)


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw one utterance with its JSON."""
    intent = rng.choice(list(SCHEMA))
    template = rng.choice(UTTERANCES[intent][pool])
    listed = [intent, *rng.sample([other for other in SCHEMA if other != intent], rng.choice((1, 2)))]
    rng.shuffle(listed)
    coded = [slot for other in listed for slot in SCHEMA[other] if slot in CODED]
    tables = {slot: code_table(rng, slot, rng.choice(_ENTRIES), pool) for slot in dict.fromkeys(coded)}
    spoken: dict[str, str] = {}
    written: dict[str, str] = {}
    for slot in _PLACE.findall(template):
        if slot in CODED:
            meant, wrong = rng.sample(list(tables[slot]), 2)
            written[slot] = tables[slot][meant]
            spoken[slot], mistaken = rng.choice(CODED[slot][meant]), rng.choice(CODED[slot][wrong])
        else:
            written[slot], mistaken = value(rng, slot, pool), value(rng, slot, pool)
            spoken[slot] = written[slot]
        if slot != "state" and mistaken != spoken[slot] and rng.random() < _CORRECTED / len(_PLACE.findall(template)):
            spoken[slot] = rng.choice(CORRECTIONS[pool]).format(wrong=mistaken, right=spoken[slot])
    said = rng.choice(POLITE[pool]).format(template.format(**spoken))
    lines = [
        rng.choice(INSTRUCTIONS[pool]).format(house=name(rng, pool)),
        "intents: " + "; ".join(f"{other}({', '.join(SCHEMA[other])})" for other in listed),
        *(f"{slot}: " + ", ".join(f"{key}={code}" for key, code in table.items()) for slot, table in tables.items()),
        f"request: {said}",
    ]
    slots = {slot: written[slot] for slot in SCHEMA[intent] if slot in written}
    return Example("\n".join(lines), json.dumps({"intent": intent, "slots": slots}))
