"""Summary: noisy call transcript → one structured note (an adaptation task).

One training row::

    user:      Agent: Good morning, how can I help?
               Customer: Um, hi, my kettle has not come yet.
               Agent: What is the order number?
               Customer: It is order 412, no sorry, 472.
               Agent: What can we do for you?
               Customer: Well, I would like my money back by Monday, I mean Friday.
               Agent: Fine, I will ring you up later.

               Write the note.
    assistant: Customer reports late kettle, order 472, wants refund by Friday; agent will call back.

Callers hesitate, repeat words and correct themselves; the note keeps the corrected values. Issue, remedy and action
come from fixed lists and are paraphrased in the call; item, order number and day are copied from it.

Score: the share of six fields (issue, item, order, remedy, day, action) that are right (`metrics/summary.py`).

Split: training rows and test rows share no item, no order number, no wording of an issue, remedy or action, no way of
correcting oneself and no script of a call; they share the closed lists of labels and the seven days. `documents` gives
transcripts that end with the agent reading the values back, and shop talk: never a note.

This file knows calls and notes. It does not know chat formats, tokenizers or scoring.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row

__all__ = ["ACTIONS", "DAYS", "ISSUES", "REMEDIES", "TEST", "TRAIN", "Wordings", "documents", "test_rows", "train_rows"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# label → (wordings of training calls, wordings of test calls). Wordings of one label share a word, so that a wording
# never met before can still be understood.
Paraphrases = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

ISSUES: Paraphrases = {
    "late": (("has not come yet", "still has not come", "is not here yet"), ("still is not here", "has yet to come")),
    "broken": (("came in pieces", "arrived broken", "is broken in two"), ("was in pieces", "came broken")),
    "dirty": (
        ("is covered in dirt", "came with stains on it", "arrived dirty"),
        ("has stains and dirt", "is very dirty"),
    ),
    "noisy": (("makes a loud noise", "is much too loud", "hums all night"), ("makes a hum", "is loud at night")),
    "leaking": (("drips water", "leaks on the floor", "lets water out"), ("leaks water", "drips on the floor")),
    "wrong": (
        ("has the wrong colour", "is not the one I chose", "has the wrong size"),
        ("is the wrong one", "is not my size"),
    ),
    "incomplete": (
        ("has a part missing", "came without its screws", "lacks the lid"),
        ("has its lid missing", "came without a part"),
    ),
    "overpriced": (
        ("was charged twice", "cost more than the price you named", "was billed too high"),
        ("was billed twice", "cost more than you charged before"),
    ),
}
"""What is wrong with the item: label of the note, and what callers say after "my <item>"."""

REMEDIES: Paraphrases = {
    "refund": (("my money back", "a refund", "to be paid back"), ("all the money back", "a full refund")),
    "exchange": (("a new one", "another one instead", "to swap it"), ("to swap it for a new one", "another new one")),
    "repair": (("it repaired", "someone to fix it", "a repair"), ("it fixed", "someone to repair it")),
    "discount": (
        ("something off the price", "a lower price", "a discount"),
        ("a bit off the price", "a good discount"),
    ),
    "pickup": (("it picked up", "you to take it away", "it fetched"), ("it taken away", "you to pick it up")),
}
"""What the caller wants: label of the note, and what callers say after "I want"."""

ACTIONS: Paraphrases = {
    "call back": (("ring you up later", "phone you again", "give you a call"), ("phone you later", "call you again")),
    "send a form": (
        ("mail you a form", "post you the papers", "send the form"),
        ("post you a form", "send the papers"),
    ),
    "ask the manager": (
        ("talk to the manager", "ask my boss", "check with the boss"),
        ("talk to my boss", "check with the manager"),
    ),
    "open a ticket": (("open a ticket", "put in a ticket", "file a case"), ("file a ticket", "open a case")),
    "visit": (
        ("come by your house", "drop in at your place", "pay you a visit"),
        ("come by your place", "drop in for a visit"),
    ),
}
"""What the agent promises: label of the note, and what agents say after "I will"."""


@dataclass(frozen=True)
class Wordings:
    """Slot values and templates of one side of the split.

    Attributes:
        side: Which wordings of `ISSUES`, `REMEDIES` and `ACTIONS` are used: 0 training, 1 test.
        items: Things that were ordered.
        orders: Order numbers, three digits.
        corrections: What stands between a slip and its correction.
        scripts: Calls as lists of turns (names of `_say`).
        openings: What the agent says first.
        asks: What the agent asks before a turn of that name.
        requests: The last line of the prompt.
    """

    side: int
    items: tuple[str, ...]
    orders: tuple[int, ...]
    corrections: tuple[str, ...]
    scripts: tuple[tuple[str, ...], ...]
    openings: tuple[str, ...]
    asks: dict[str, tuple[str, ...]]
    requests: tuple[str, ...]


TRAIN = Wordings(
    side=0,
    items=(
        *("kettle", "toaster", "lamp", "chair", "table", "carpet", "blender", "radio", "phone", "printer", "camera"),
        *("mirror", "clock", "bicycle", "tent", "jacket", "shoe", "coat", "desk", "shelf", "sofa", "pillow", "blanket"),
        *("fan", "heater", "fridge", "oven", "mixer", "drill", "ladder", "hose", "bucket", "mop", "broom", "basket"),
        *("rack", "bench", "stool", "bed", "speaker"),
    ),
    orders=tuple(n for n in range(100, 1000) if n % 4 != 1),
    corrections=(", no sorry, ", ", I mean ", ", wait, no, ", ", oh no, it is "),
    scripts=(
        ("issue", "order", "remedy day"),
        ("order issue", "remedy day"),
        ("issue order", "day remedy"),
        ("issue", "order", "remedy", "day"),
        ("remedy", "issue", "order", "day"),
    ),
    openings=("Hello, how can I help?", "Good morning, what is the matter?", "Help desk here."),
    asks={
        "issue": ("What is wrong?", "Tell me what happened."),
        "order": ("What is the order number?", "Which order is it?"),
        "remedy": ("What can we do for you?", "What do you want?"),
        "day": ("By when?", "What is the last day?"),
    },
    requests=("Write the note.", "Note:", "Sum up the call."),
)
"""What training calls are made of."""

TEST = Wordings(
    side=1,
    items=(
        *("teapot", "guitar", "helmet", "vacuum", "scooter", "wardrobe", "curtain", "freezer", "scanner", "hammock"),
        *("mattress", "saucepan"),
    ),
    orders=tuple(n for n in range(100, 1000) if n % 4 == 1),
    corrections=(", no wait, I mean ", ", sorry, no, it is "),
    scripts=(("order", "issue", "day remedy"), ("remedy day", "order issue"), ("order", "issue", "remedy", "day")),
    openings=("Good day, how can I help?", "Hello, help desk."),
    asks={
        "issue": ("Tell me what is wrong.",),
        "order": ("What order number is it?",),
        "remedy": ("What can we do?",),
        "day": ("What day, by when?",),
    },
    requests=("Write a note of the call.",),
)
"""What test calls are made of; disjoint from `TRAIN` in every slot and template, the closed lists apart."""


@dataclass(frozen=True)
class _Call:
    """What a call is about: the labels, and the words that were chosen for them."""

    issue: str
    item: str
    order: int
    remedy: str
    day: str
    action: str

    def note(self) -> str:
        return (
            f"Customer reports {self.issue} {self.item}, order {self.order}, wants {self.remedy} by {self.day};"
            f" agent will {self.action}."
        )


_LONGEST_CALL = 350
"""Characters of a row's prompt; a longer call is drawn again (a training batch of the tiny model must hold many)."""


def train_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` training rows with different prompts: `{"messages": [user, assistant]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [training_row(example) for example in distinct(lambda rng: _row(rng, TRAIN), count, f"summary train {seed}")]


def test_rows(count: int, seed: int = 0) -> list[dict]:
    """Make `count` test rows with different prompts: `{"prompt": …, "raw_answers": [note]}`.

    Raises:
        ValueError: If so many different rows cannot be made.
    """
    return [evaluation_row(example) for example in distinct(lambda rng: _row(rng, TEST), count, f"summary test {seed}")]


def documents(rng: random.Random) -> Iterator[str]:
    """Give endless texts of the help desk: calls in which the values are read back, and shop talk; never a note."""
    while True:
        if rng.random() < 0.8:
            yield _recorded_call(rng)
        else:
            yield _shop_talk(rng)


def _draw_call(rng: random.Random, words: Wordings) -> _Call:
    return _Call(
        issue=rng.choice(tuple(ISSUES)),
        item=rng.choice(words.items),
        order=rng.choice(words.orders),
        remedy=rng.choice(tuple(REMEDIES)),
        day=rng.choice(DAYS),
        action=rng.choice(tuple(ACTIONS)),
    )


def _row(rng: random.Random, words: Wordings) -> Example:
    while True:
        call = _draw_call(rng, words)
        prompt = "\n".join(_transcript(rng, call, words)) + "\n\n" + rng.choice(words.requests)
        if len(prompt) <= _LONGEST_CALL:
            return Example(prompt, call.note())


def _transcript(rng: random.Random, call: _Call, words: Wordings) -> list[str]:
    """Speak the call: at most two slips, and at most one filler or repeated word a turn."""
    slips: set[str] = set(rng.sample(("item", "order", "day"), rng.choice((0, 1, 1, 2))))
    turns = [f"Agent: {rng.choice(words.openings)}"]
    for number, parts in enumerate(rng.choice(words.scripts)):
        first = parts.split()[0]
        if number:
            turns.append(f"Agent: {rng.choice(words.asks[first])}")
        said = " ".join(_say(rng, part, call, words, slips) for part in parts.split())
        turns.append(f"Customer: {_hesitate(rng, said)}")
    turns.append(
        f"Agent: {rng.choice(('Fine, I', 'All right, I', 'I'))} will {rng.choice(ACTIONS[call.action][words.side])}."
    )
    return turns


def _say(rng: random.Random, part: str, call: _Call, words: Wordings, slips: set[str]) -> str:
    if part == "issue":
        item = _slip(rng, call.item, words.items, words, "item" in slips, "my ")
        return f"My {item} {rng.choice(ISSUES[call.issue][words.side])}."
    if part == "order":
        return f"It is order {_slip(rng, call.order, words.orders, words, 'order' in slips)}."
    if part == "remedy":
        return f"I want {rng.choice(REMEDIES[call.remedy][words.side])}."
    return f"I need it by {_slip(rng, call.day, DAYS, words, 'day' in slips)}."


def _slip(rng: random.Random, value: object, pool: tuple, words: Wordings, slips: bool, before: str = "") -> str:
    """Say `value`, after another of its pool when the caller slips."""
    if not slips:
        return str(value)
    other = rng.choice(pool)
    while other == value:
        other = rng.choice(pool)
    return f"{other}{rng.choice(words.corrections)}{before}{value}"


_FILLERS = ("Um, ", "Uh, ", "Well, ", "Er, ", "You see, ")


def _hesitate(rng: random.Random, said: str) -> str:
    """Put a filler before what is said, or say its first word twice, or neither."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(_FILLERS) + (said if said.startswith("I ") else said[0].lower() + said[1:])
    if kind < 0.55:
        first = said.split(" ", 1)[0]
        return f"{first}, {said if first == 'I' else said[0].lower() + said[1:]}"
    return said


_READ_BACK = (
    "So that is the {item}, order {order}, by {day}.",
    "Let me repeat: order {order}, the {item}, before {day}.",
    "I have put down {item}, order {order} and {day}.",
    "Then it is {day} for the {item} of order {order}.",
)
_THANKS = ("Customer: Yes, thank you.", "Customer: That is right.", "Customer: Yes. Goodbye.")


def _recorded_call(rng: random.Random) -> str:
    """A call as recorded: the training scripts, any item and number, and the corrected values read back."""
    source = rng.choice((TRAIN, TRAIN, TRAIN, TEST))
    drawn = _draw_call(rng, source)
    words = Wordings(
        side=0,
        items=source.items,
        orders=source.orders,
        corrections=TRAIN.corrections,
        scripts=TRAIN.scripts,
        openings=TRAIN.openings,
        asks=TRAIN.asks,
        requests=(),
    )
    turns = _transcript(rng, drawn, words)
    back = rng.choice(_READ_BACK).format(item=drawn.item, order=drawn.order, day=drawn.day)
    turns.append(f"Agent: {back}")
    turns.append(rng.choice(_THANKS))
    return f"Call {rng.randint(1, 99)}, recorded.\n" + "\n".join(turns)


def _shop_talk(rng: random.Random) -> str:
    """A paragraph on what the shop sells and what its desk does; the labels appear, but not beside a call."""
    lines = []
    for _ in range(rng.randint(3, 5)):
        one, two = rng.sample(TRAIN.items + TEST.items, 2)
        issue = rng.choice(tuple(ISSUES))
        remedy, action = rng.choice(tuple(REMEDIES)), rng.choice(tuple(ACTIONS))
        lines.append(
            rng.choice(
                (
                    f"We sell a {one} and a {two} every {rng.choice(DAYS)}.",
                    f"Nobody likes it when a {one} is {issue}.",
                    f"The desk may grant a {remedy} for a {one}.",
                    f"When in doubt, {action} and tell the caller.",
                    f"Order {rng.randint(100, 999)} holds one {one} and one {two}.",
                )
            )
        )
    return "From the help desk handbook. " + " ".join(lines)
