"""General ability in small: facts, instructions with a checkable form, everyday scripts and short stories.

This is the embedded stand-in for the general text and alignment data of a large model. Pretraining reads
:func:`documents` and :func:`chats`; :func:`train_rows` is the general data mixed in at ``general_ratio``; the probes
that measure what fine-tuning keeps are in :mod:`esft_lightning.data.embedded.general_probes`.

Example row of :func:`train_rows`::

    {"messages": [{"role": "user", "content": "Repeat the word lamp three times."},
                  {"role": "assistant", "content": "lamp lamp lamp"}]}

Words and persons ending up in a probe never occur in the same slot here: :data:`WORDS` and :data:`PROBE_WORDS`,
:data:`PERSONS` (in other pairs) and the questions of :mod:`~esft_lightning.data.embedded.world` are kept apart.
Pure Python, deterministic under a seed; knows nothing of tokenizers and models.
"""

# ruff: noqa: SIM905 - word lists are easier to read and to change as one string
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice, pairwise

from esft_lightning.data.embedded.world import KINDS, Fact, facts, statement, values

__all__ = ["chats", "documents", "train_rows"]

WORDS = (
    "lamp river stone garden window bottle candle ladder bridge forest pencil basket mirror button carpet hammer "
    "kettle ribbon saddle tunnel wagon anchor blanket castle feather island jacket market orange pillow rabbit silver "
    "table village winter yellow apple bread cloud door engine field glass house iron knife leaf moon nest ocean paper "
    "queen road salt tree uncle voice wall year zebra ball cup dog egg fish goat hat ice"
).split()
PROBE_WORDS = (
    "lantern meadow copper harbor needle pepper rocket spider turtle violin branch coffee dragon finger".split()
)

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

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
FRUITS = "apple pear plum cherry lemon grape peach fig".split()
_SYLLABLES = "ba ber cal cor dan del fin gar hol jun kel lan mer nor os pan quin rav sel tor ul ven wes yar zin".split()
_TIMES = {"two": 2, "three": 3, "four": 4}


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


def _word(rng: random.Random) -> str:
    """A word to be copied: known, or made up of syllables, so that copying cannot be learned word by word."""
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3)))


def _words(rng: random.Random, least: int, most: int) -> list[str]:
    return [_word(rng) for _ in range(rng.randint(least, most))]


def _repeat(rng: random.Random) -> tuple[str, str]:
    word, times = _word(rng), rng.choice(list(_TIMES))
    ask = rng.choice(
        (
            "Repeat the word {w} {n} times.",
            "Write {w} {n} times.",
            "Say the word {w} {n} times.",
            "Please repeat {w} {n} times.",
        )
    )
    return ask.format(w=word, n=times), " ".join([word] * _TIMES[times])


def _capitals(rng: random.Random) -> tuple[str, str]:
    word = rng.choice(WORDS)
    ask = rng.choice(("Write the word {w} in capitals.", "Answer in capitals: {w}", "Write {w} in capital letters."))
    return ask.format(w=word), word.upper()


def _commas(rng: random.Random) -> tuple[str, str]:
    words = _words(rng, 2, 4)
    ask = rng.choice(
        (
            "Separate these words by commas: {w}",
            "Write with commas between the words: {w}",
            "Write these words, separated by commas: {w}",
        )
    )
    return ask.format(w=" ".join(words)), ", ".join(words)


def _fruits(rng: random.Random) -> tuple[str, str]:
    number = rng.choice(list(_TIMES))
    ask = rng.choice(("List {n} fruits separated by commas.", "Name {n} fruits. Separate them by commas."))
    return ask.format(n=number), ", ".join(rng.sample(FRUITS, _TIMES[number]))


def _full_stop(rng: random.Random) -> tuple[str, str]:
    words = " ".join(_words(rng, 1, 3))
    ask = rng.choice(
        (
            "Copy this and end with a full stop: {w}",
            "Copy and put a full stop at the end: {w}",
            "Copy this and put a full stop at the end: {w}",
        )
    )
    return ask.format(w=words), f"{words}."


def _quotes(rng: random.Random) -> tuple[str, str]:
    ask = rng.choice(
        ("Put the word {w} in quotation marks.", "Write {w} in quotation marks.", "Please put {w} in quotation marks.")
    )
    word = _word(rng)
    return ask.format(w=word), f'"{word}"'


def _reverse(rng: random.Random) -> tuple[str, str]:
    words = _words(rng, 2, 3)
    ask = rng.choice(
        (
            "Write these words in reverse order: {w}",
            "Turn the order of these words around: {w}",
            "Write these in reverse order: {w}",
        )
    )
    return ask.format(w=" ".join(words)), " ".join(reversed(words))


def _number_word(rng: random.Random) -> tuple[str, str]:
    number = rng.randrange(len(NUMBERS))
    ask = rng.choice(("Write the number {n} as a word.", "Spell the number {n}."))
    return ask.format(n=number), NUMBERS[number]


def _start_with(rng: random.Random) -> tuple[str, str]:
    fact, opening = rng.choice(facts()), rng.choice(("Sure", "Well", "Yes"))
    return f"Start your answer with {opening}. {question(fact, rng)}", f"{opening}, {fact.value}."


_INSTRUCTIONS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
    *(_repeat, _capitals, _commas, _fruits, _full_stop, _quotes, _reverse, _number_word, _start_with),
)


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
    """Endless documents of pretraining: small articles on one subject, lists of facts, scripts and stories."""
    about: dict[str, list[Fact]] = {}
    for fact in facts():
        about.setdefault(fact.subject, []).append(fact)
    subjects = list(about)
    while True:
        kind = rng.random()
        if kind < 0.4:
            subject = rng.choice(subjects)
            known = list(about[subject])
            known += [fact for fact in known for fact in about.get(fact.value, ())]  # one step along: home → its town
            rng.shuffle(known)
            yield f"{subject}. " + " ".join(statement(fact, rng) for fact in known)
        elif kind < 0.7:
            yield " ".join(statement(fact, rng) for fact in rng.sample(facts(), 5))
        elif kind < 0.85:
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
