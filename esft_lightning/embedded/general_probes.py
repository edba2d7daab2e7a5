r"""Probes of general ability: what the paper measures with seven benchmarks, on the invented world and small forms.

| probe | the paper's kin | how it is answered |
|---|---|---|
| ``recall`` | TriviaQA | generated; a fact of pretraining asked for in a wording never met |
| ``continuation`` | HellaSwag | by likelihood: which step comes next |
| ``multiple_choice`` | MMLU, CEval, ARC-C | by likelihood among four named options |
| ``reference`` | CLUEWSC | by likelihood: whom does the story mean |
| ``format`` | IFEval | generated; a rule checks the form of the answer |

Example rows::

    {"prompt": "User: Where does Fenlan Corber have a house?\n\nAssistant:", "raw_answers": ["Holdel"]}
    {"prompt": "Quinba boiled some water. Next, Quinba", "options": [" poured …", …], "answer": 0}
    {"prompt": "User: Write lantern four times.\n\nAssistant:", "rule": "repeat", "words": ["lantern"], "times": 4}

Scoring is in :mod:`esft_lightning.scoring.general`; the sixth probe, held-out text, needs the corpus and is put
together in :mod:`esft_lightning.evaluation.general`. Pure Python, deterministic under a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from esft_lightning.embedded.general import SCRIPTS, handover_story, reason_story
from esft_lightning.embedded.instructions import NUMBERS, WORDS
from esft_lightning.embedded.pools import name, word
from esft_lightning.embedded.world import KINDS, Fact, choice_question, facts, values

__all__ = ["PROBES", "probes"]

_COUNT = 80
_TIMES = {"two": 2, "three": 3, "four": 4}


def _chat(user: str) -> str:
    return f"User: {user}\n\nAssistant:"


def _probe_question(fact: Fact, rng: random.Random) -> str:
    return rng.choice(KINDS[fact.kind].probe_questions).format(s=fact.subject)


def _choice(prompt: str, right: str, wrong: list[str], rng: random.Random) -> dict:
    options = [right, *wrong]
    rng.shuffle(options)
    return {"prompt": prompt, "options": options, "answer": options.index(right)}


def _recall(rng: random.Random) -> dict:
    fact = rng.choice(facts())
    return {"prompt": _chat(_probe_question(fact, rng)), "raw_answers": [fact.value]}


def _continuation(rng: random.Random) -> dict:
    goal = rng.choice(list(SCRIPTS))
    steps = SCRIPTS[goal]
    after = rng.randint(1, 3)
    who = name(rng, "test")
    wrong = [f" {rng.choice(SCRIPTS[other])}" for other in rng.sample([g for g in SCRIPTS if g != goal], 2)]
    # the hardest wrong one: of the same script, at the wrong time
    wrong.append(f" {rng.choice([step for step in steps if step not in steps[after - 1 : after + 1]])}")
    return _choice(f"{who} {steps[after - 1]}. Next, {who}", f" {steps[after]}", wrong, rng)


def _multiple_choice(rng: random.Random) -> dict:
    fact = rng.choice(facts())
    others = rng.sample([value for value in values(fact.kind) if value != fact.value], 3)
    named = [fact.value, *others]
    rng.shuffle(named)
    prompt = _chat(choice_question(_probe_question(fact, rng), named))
    return _choice(prompt, f" {fact.value}.", [f" {value}." for value in others], rng)


def _reference(rng: random.Random) -> dict:
    story = rng.choice((reason_story, handover_story))(rng, "test")
    return _choice(_chat(f"{story.text} {story.question}"), f" {story.answer}.", [f" {story.other}."], rng)


def _format(rng: random.Random) -> dict:
    """One instruction with the rule that its answer must meet (see ``metrics.general.follows_format``)."""
    words = [rng.choice((rng.choice(WORDS), word(rng, "test"))) for _ in range(3)]
    many, times = rng.choice(list(_TIMES.items()))
    number = rng.randrange(len(NUMBERS))
    known = rng.choice(WORDS)  # the capitals of a made-up word cannot be known
    forms = (
        (f"Repeat {words[0]} {many} times.", {"rule": "repeat", "words": words[:1], "times": times}),
        (f"In capitals: {known}", {"rule": "capitals", "words": [known]}),
        (f"Write these words with commas: {' '.join(words)}", {"rule": "commas", "words": words}),
        (f"Name {many} fruits separated by commas.", {"rule": "comma_count", "times": times}),
        (f"Copy this with a full stop at the end: {' '.join(words[:2])}", {"rule": "full_stop", "words": words[:2]}),
        (f"Put {words[0]} in quotation marks.", {"rule": "quotes", "words": words[:1]}),
        (f"Write in reverse order: {' '.join(words[:2])}", {"rule": "reverse", "words": words[:2]}),
        (f"Write {number} as a word.", {"rule": "copy", "words": [NUMBERS[number]]}),
    )
    ask, check = rng.choice(forms)
    return {"prompt": _chat(ask), **check}


PROBES: dict[str, Callable[[random.Random], dict]] = {
    "recall": _recall,
    "continuation": _continuation,
    "multiple_choice": _multiple_choice,
    "reference": _reference,
    "format": _format,
}


def probes(limit: int | None = None, seed: int = 0) -> dict[str, list[dict]]:
    """The rows of every probe, distinct by prompt.

    Args:
        limit: Rows per probe; 80 when None.
        seed: Seed of the draw.

    Returns:
        Probe name → rows; see the module's docstring for their keys.
    """
    made: dict[str, list[dict]] = {}
    for probe, make in PROBES.items():
        rng = random.Random(f"general-probe-{probe}-{seed}")
        rows: dict[str, dict] = {}
        for _ in range(4000):
            if len(rows) == (_COUNT if limit is None else limit):
                break
            row = make(rng)
            rows.setdefault(row["prompt"], row)
        made[probe] = list(rows.values())
    return made
