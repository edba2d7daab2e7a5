"""General ability in small: facts, instructions with a checkable form, everyday scripts and short stories.

This is the embedded stand-in for the general text and alignment data of a large model. Pretraining reads
:func:`documents` and :func:`chats`; :func:`train_rows` is the general data mixed in at ``general_ratio``; the probes
that measure what fine-tuning keeps are in :mod:`esft_lightning.data.embedded.general_probes`.

Example row of :func:`train_rows`::

    {"messages": [{"role": "user", "content": "Repeat the word lamp three times."},
                  {"role": "assistant", "content": "lamp lamp lamp"}]}

The probes ask in wordings that these rows never use, and of pairs of persons that are not among them
(:func:`used_in_training`). Instructions are in :mod:`esft_lightning.data.embedded.instructions`.
Pure Python, deterministic under a seed; knows nothing of tokenizers and models.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice, pairwise

from esft_lightning.data.embedded.instructions import FORMS, echo_text, lookup_text
from esft_lightning.data.embedded.world import KINDS, Fact, facts, statement, values

__all__ = ["chats", "documents", "train_rows"]

# Everyday scripts: a goal and its steps, in the order in which they happen.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "bake bread": ("mixed flour and water", "kneaded the dough", "put the dough into the oven", "cut the warm loaf"),
    "make tea": ("boiled some water", "poured the water over the leaves", "waited a while", "drank from the cup"),
    "write a letter": ("took a pen and paper", "wrote two pages", "closed the envelope", "brought it to the post"),
    "catch fish": ("went down to the lake", "threw out the line", "felt a pull", "lifted the fish out of the water"),
    "wash the shirt": ("filled the tub", "rubbed the shirt with soap", "rinsed it", "hung it on the line"),
    "plant a tree": ("dug a hole", "set the young tree in it", "filled the hole with earth", "watered the roots"),
    "ride to town": (
        "saddled the horse",
        "climbed into the saddle",
        "rode along the road",
        "tied the horse at the inn",
    ),
    "paint the door": ("sanded the old door", "opened a tin of paint", "dipped the brush", "painted the wood"),
    "light a fire": ("gathered dry sticks", "stacked them up", "struck a match", "warmed both hands at the flames"),
    "borrow a book": (
        "walked to the library",
        "looked along the shelves",
        "chose a book",
        "showed the card at the desk",
    ),
    "mend the coat": ("found the hole in the coat", "threaded a needle", "sewed the hole shut", "tried the coat on"),
    "cross the river": ("untied the boat", "sat down in the boat", "rowed across", "stepped out on the other bank"),
    "see the doctor": ("felt a pain in the knee", "called the doctor", "sat in the waiting room", "got some medicine"),
    "sell the eggs": ("fed the hens", "collected the eggs", "carried them to market", "counted the coins"),
}

MEN = "Tom Ben Sam Jack Paul Max Leo Hugo Carl Otto".split()
WOMEN = "Ann Eva Mia Lucy Kate Rose Ida Nora Ella Jane".split()
THINGS = "cup book key coat map coin letter lamp hat ring".split()

# Why somebody did something, told by a pronoun: (story, question, "giver" or "taker").
REASONS: tuple[tuple[str, str, str], ...] = (
    ("{a} gave {b} a glass of water because {p} was thirsty.", "Who was thirsty?", "taker"),
    ("{a} gave {b} some bread because {p} was hungry.", "Who was hungry?", "taker"),
    ("{a} lent {b} a coat because {p} was cold.", "Who was cold?", "taker"),
    ("{a} thanked {b} because {p} had got help.", "Who had got help?", "giver"),
    ("{a} called {b} because {p} felt lonely.", "Who felt lonely?", "giver"),
    ("{a} carried {b} home because {p} was tired.", "Who was tired?", "taker"),
    ("{a} asked {b} for a coin because {p} had none.", "Who had none?", "giver"),
    ("{a} waited for {b} because {p} was late.", "Who was late?", "taker"),
)


def used_in_training(first: str, second: str) -> bool:
    """Whether stories of pretraining and :func:`train_rows` tell of this pair; the probes use the other pairs."""
    return (sum(map(ord, first)) * 7 + sum(map(ord, second))) % 4 != 0


def people_pair(rng: random.Random, training: bool) -> tuple[str, str]:
    """A man and a woman in random order, from the pairs of training or from those kept for the probes."""
    while True:
        pair = [rng.choice(MEN), rng.choice(WOMEN)]
        rng.shuffle(pair)
        if used_in_training(*pair) == training:
            return pair[0], pair[1]


def pronoun(name: str) -> str:
    """The pronoun of a story's person."""
    return "he" if name in MEN else "she"


def script_text(goal: str, name: str, rng: random.Random) -> str:
    """A story that follows one script in order, in one of three ways of telling it."""
    steps = SCRIPTS[goal]
    style = rng.randrange(3)
    if style == 0:
        return (
            f"{name} wanted to {goal}. First {name} {steps[0]}. Then {name} " + f". Then {name} ".join(steps[1:]) + "."
        )
    if style == 1:
        return f"To {goal}, {name} {', '.join(steps[:-1])} and {steps[-1]}."
    return f"{name} {steps[0]} and then {steps[1]}. After that {name} {steps[2]} and {steps[3]}."


def reason_story(rng: random.Random, training: bool) -> tuple[str, str, str, tuple[str, str]]:
    """A story whose pronoun names one of two persons: ``(story, question, answer, (first, second))``."""
    first, second = people_pair(rng, training)
    text, question, who = rng.choice(REASONS)
    answer = first if who == "giver" else second
    return text.format(a=first, b=second, p=pronoun(answer)), question, answer, (first, second)


def handover_story(rng: random.Random, training: bool) -> tuple[str, str, str, tuple[str, str]]:
    """A story in which a thing changes hands: ``(story, question, answer, (first, second))``."""
    first, second = people_pair(rng, training)
    thing = rng.choice(THINGS)
    text = rng.choice(("{a} gave the {t} to {b}.", "{a} handed {b} the {t}.", "{a} sold the {t} to {b}."))
    late = rng.random() < 0.5
    question = f"Who has the {thing} now?" if late else f"Who had the {thing} before?"
    return text.format(a=first, b=second, t=thing), question, second if late else first, (first, second)


def _fact_chat(rng: random.Random) -> tuple[str, str]:
    fact = rng.choice(facts())
    return question(fact, rng), f"{fact.value}."


def question(fact: Fact, rng: random.Random) -> str:
    """A question about ``fact`` in one of the wordings of pretraining."""
    return rng.choice(KINDS[fact.kind].questions).format(s=fact.subject)


def choice_question(text: str, options: list[str]) -> str:
    """``text`` followed by the options to choose from."""
    return f"{text} Choose: {', '.join(options[:-1])} or {options[-1]}."


def _choice_chat(rng: random.Random) -> tuple[str, str]:
    fact = rng.choice(facts())
    others = [value for value in values(fact.kind) if value != fact.value]
    options = [fact.value, *rng.sample(others, 3)]
    rng.shuffle(options)
    return choice_question(question(fact, rng), options), f"{fact.value}."


def _story_chat(rng: random.Random) -> tuple[str, str]:
    story, asked, answer, _ = rng.choice((reason_story, handover_story))(rng, True)
    return f"{story} {asked}", f"{answer}."


def _script_chat(rng: random.Random) -> tuple[str, str]:
    goal = rng.choice(list(SCRIPTS))
    before, after = rng.choice(list(pairwise(SCRIPTS[goal])))
    name = rng.choice(MEN + WOMEN)
    return f"{name} wants to {goal} and {before}. What comes next?", f"{name} {after}."


def _start_with(rng: random.Random) -> tuple[str, str]:
    fact, opening = rng.choice(facts()), rng.choice(("Sure", "Well", "Yes"))
    return f"Start your answer with {opening}. {question(fact, rng)}", f"{opening}, {fact.value}."


_INSTRUCTIONS = (*FORMS, _start_with)


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Endless ``(user, assistant)`` pairs of pretraining: facts, choices, stories, scripts and instructions."""
    while True:
        kind = rng.random()
        if kind < 0.23:
            yield _fact_chat(rng)
        elif kind < 0.34:
            yield _choice_chat(rng)
        elif kind < 0.42:
            yield _story_chat(rng)
        elif kind < 0.52:
            yield _script_chat(rng)
        else:
            yield rng.choice(_INSTRUCTIONS)(rng)


def documents(rng: random.Random) -> Iterator[str]:
    """Endless documents of pretraining: articles on one subject, lists of facts, scripts, stories, lines said again."""
    about: dict[str, list[Fact]] = {}
    for fact in facts():
        about.setdefault(fact.subject, []).append(fact)
    subjects = list(about)
    while True:
        kind = rng.random()
        if kind < 0.15:
            yield rng.choice((echo_text, lookup_text))(rng)
        elif kind < 0.5:
            subject = rng.choice(subjects)
            known = list(about[subject])
            known += [fact for fact in known for fact in about.get(fact.value, ())]  # one step along: home → its town
            rng.shuffle(known)
            yield f"{subject}. " + " ".join(statement(fact, rng) for fact in known)
        elif kind < 0.75:
            yield " ".join(statement(fact, rng) for fact in rng.sample(facts(), 5))
        elif kind < 0.87:
            names = rng.sample(MEN + WOMEN, 2)
            yield " ".join(script_text(rng.choice(list(SCRIPTS)), name, rng) for name in names)
        else:
            stories = [rng.choice((reason_story, handover_story))(rng, True) for _ in range(3)]
            yield " ".join(f"{story} {asked} {answer}." for story, asked, answer, _ in stories)


def train_rows(count: int, seed: int = 0) -> list[dict]:
    """``count`` distinct general rows in chat form, to be mixed into a task's data.

    Args:
        count: Number of rows; far more than 100,000 distinct ones exist.
        seed: Seed of the draw.

    Raises:
        ValueError: ``count`` is larger than what can be drawn without repetition.
    """
    rng = random.Random(f"general-train-{seed}")
    rows: dict[tuple[str, str], dict] = {}
    source = chats(rng)
    for user, assistant in islice(source, 200 + 40 * count):
        if len(rows) == count:
            break
        message = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        rows.setdefault((user, assistant), {"messages": message})
    if len(rows) < count:
        raise ValueError(f"general.train_rows: {count} distinct rows asked for, only {len(rows)} found; ask for fewer")
    return list(rows.values())
