"""Math: short word problems, answered by worked steps that end in `#### n` (an enhancement task, in GSM8K's manner).

One row::

    user:      Mia keeps 3 boxes with 12 pens in each. Then Omar gives 5 more pens to Mia. What is the new number of
               pens?
    assistant: 3*12=36. 36+5=41. #### 41

Scored by equality of the final number (`esft_lightning.metrics.math`). All numbers lie in 0..99.

Train and test are split three ways, so no prompt can be in both: by sentence templates (`TEMPLATES["train"]` and
`TEMPLATES["test"]` share none), by slot values (people, things, holders) and by operands (`held_out_operands`: about
one tuple of numbers in five is kept for test). Pretraining (`chats`) sees problems of one to three steps in
templates of its own; train and test have two or three steps. `documents` is arithmetic and counting text.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from esft_lightning.data.embedded.rows import Example, distinct, evaluation_row, training_row, word_pools

PEOPLE = word_pools(
    "Anna Ben Carl Dora Eli Fay Gus Hana Ivan Jill Kofi Lena Mia Noah Omar Pia Rosa Sam Tom Uma",
    "Alan Bea Cora Dan Emma Finn Gina Hugo Ines Jack",
)
THINGS = word_pools(
    "apples pens shells coins books cards stones cups eggs stamps nuts balls keys buttons",
    "pears beads marbles shirts plums tickets",
)
HOLDERS = word_pools("boxes bags jars baskets", "trays packs drawers")
COLORS = ("red", "blue", "green", "white", "black")

TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "chats": {
        "have": (
            "{p} has {a} {t}.",
            "There are {a} {t} in the house of {p}.",
            "{a} {t} belong to {p}.",
            "In the garden of {p} you see {a} {t}.",
            "Last week {p} bought {a} {t}.",
            "{p} is proud of {a} {t}.",
        ),
        "hold": (
            "{p} has {a} {h} with {b} {t} each.",
            "{p} looks at {a} {h}. Each has {b} {t} inside.",
            "There are {b} {t} in every one of the {a} {h} of {p}.",
        ),
        "both": (
            "{p} has {a} {c} {t} and {b} {d} {t}.",
            "{p} brings {a} {c} {t}, and {b} that are {d}.",
        ),
        "add": (
            "{p} gets {b} more.",
            "{p} finds {b} {t}.",
            "{q} gives {p} {b} more {t}.",
            "{p} buys {b} {t} more.",
            "Next {q} brings {b} further {t} to {p}.",
            "The day after, {p} makes {b} {t}.",
        ),
        "sub": (
            "{p} loses {b}.",
            "{p} gives away {b} {t}.",
            "{p} sells {b} of the {t}.",
            "{q} takes {b} of them.",
            "Next {p} hands {b} {t} to {q}.",
            "Sadly {b} of the {t} break.",
        ),
        "mul": (
            "The {t} grow to {b} times as many.",
            "Now there are {b} times as many {t}.",
            "Soon {p} has {b} times that number.",
        ),
        "div": (
            "{p} shares them equally among {b} friends.",
            "{p} puts the {t} into {b} equal groups.",
            "At last the {t} are split into {b} equal heaps.",
        ),
        "ask": (
            "How many {t} does {p} have now?",
            "How many {t} are there?",
            "So how many {t} is that?",
            "Count the {t} of {p}.",
        ),
        "ask_part": ("How many {t} are in each part?", "How many {t} does a heap hold?"),
    },
    "train": {
        "have": ("{p} starts with {a} {t}.", "This morning {p} had {a} {t}.", "A box of {p} holds {a} {t}."),
        "hold": ("{p} keeps {a} {h} with {b} {t} in each.", "In the room of {p} are {a} {h}, each with {b} {t}."),
        "both": ("{p} counts {a} {c} and {b} {d} {t}.", "On the desk of {p} lie {a} {c} {t} and also {b} {d} {t}."),
        "add": (
            "Then {q} gives {b} more {t} to {p}.",
            "Later {p} buys {b} new {t}.",
            "Then {p} gets {b} more from {q}.",
            "{p} wins {b} {t} in a game.",
        ),
        "sub": (
            "Then {p} gives {b} {t} to {q}.",
            "Later {p} sells {b} of them.",
            "On the way {p} loses {b} {t}.",
            "{q} takes {b} of the {t} away.",
        ),
        "mul": ("By spring the {t} become {b} times as many.", "Then {p} makes the heap {b} times as big."),
        "div": ("Then {p} shares all {t} equally among {b} friends.", "{p} puts all of them into {b} equal groups."),
        "ask": ("How many {t} does {p} have in the end?", "What is the new number of {t}?"),
        "ask_part": ("How many {t} does one of the parts have?",),
    },
    "test": {
        "have": ("At first {p} has {a} {t}.", "{p} owns {a} {t}."),
        "hold": ("{p} has {a} {h} and each of them holds {b} {t}.", "{p} fills {a} {h} with {b} {t} each."),
        "both": ("{p} owns {a} {c} {t} and {b} {d} ones.",),
        "add": ("After that {p} finds {b} more {t}.", "{p} gets {b} {t} from {q}.", "Then {p} buys another {b} {t}."),
        "sub": ("After that {p} sells {b} {t} to {q}.", "{p} gives {q} {b} of the {t}.", "Then {p} loses {b} of them."),
        "mul": ("After a year {p} has {b} times as many {t}.",),
        "div": ("After that {p} shares the {t} equally among {b} people.",),
        "ask": ("How many {t} are left for {p}?", "How many {t} has {p} now?"),
        "ask_part": ("How many {t} are in one part?",),
    },
}
"""split → kind of sentence → templates; those of pretraining (`chats`) are the most varied, so that it learns to find
the numbers of a problem wherever they stand.

`{a}`, `{b}` are numbers, `{p}`, `{q}` people, `{t}` things, `{h}` holders, `{c}`, `{d}` colours.
"""


class Step(NamedTuple):
    """One worked step: `left sign right = result`."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}={self.result}"


STEP_WEIGHTS = (0, 1, 1)
"""How often train and test problems have one, two and three steps. Of one step, pretraining has seen enough."""
CHAT_STEP_WEIGHTS = (4, 4, 2)
"""How often problems of pretraining have one, two and three steps."""
KIND_OF_SIGN = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def _divisors(value: int) -> list[int]:
    return [d for d in range(2, 10) if value % d == 0 and value // d >= 2]


def _next_step(rng: random.Random, value: int, last: bool) -> Step:
    """Continue from `value` by an operation that stays in 0..99; only a last step divides (the parts end the story)."""
    kinds = ["+"] * 4 * (value <= 90) + ["-"] * 4 * (value >= 4) + ["*"] * (2 <= value <= 30)
    if last and value >= 4 and _divisors(value):
        kinds.append("/")
    sign = rng.choice(kinds)
    if sign == "+":
        right = rng.randint(2, min(30, 99 - value))
        return Step(value, sign, right, value + right)
    if sign == "-":
        right = rng.randint(2, min(30, value - 1))
        return Step(value, sign, right, value - right)
    if sign == "*":
        right = rng.randint(2, min(5, 99 // value))
        return Step(value, sign, right, value * right)
    right = rng.choice(_divisors(value))
    return Step(value, sign, right, value // right)


def _first_step(rng: random.Random, opening: str) -> Step:
    """The step that the opening sentence itself asks for: `a` holders of `b` things, or two colours together."""
    if opening == "hold":
        left = rng.randint(2, 6)
        right = rng.randint(2, 12)
        return Step(left, "*", right, left * right)
    left, right = rng.randint(3, 40), rng.randint(3, 40)
    return Step(left, "+", right, left + right)


def held_out_operands(steps: Sequence[Step]) -> bool:
    """Tell whether a problem with these operands belongs to test: a weighted sum of its numbers divisible by 5."""
    return (3 * steps[0].left + sum(weight * step.right for weight, step in enumerate(steps, 1))) % 5 == 0


def _steps(rng: random.Random, opening: str, count: int) -> list[Step]:
    if opening == "have":
        steps = [_next_step(rng, rng.randint(4, 60), count == 1)]
    else:
        steps = [_first_step(rng, opening)]
    while len(steps) < count:
        steps.append(_next_step(rng, steps[-1].result, len(steps) == count - 1))
    return steps


def _words(pool: dict[str, list[str]], split: str) -> list[str]:
    """The words of a split; pretraining (`chats`) knows them all."""
    return pool["train"] + pool["test"] if split == "chats" else pool[split]


def _problem(rng: random.Random, split: str, count: int) -> Example:
    templates = TEMPLATES[split]
    opening = rng.choice(("have", "have", "have", "hold", "both"))
    steps = _steps(rng, opening, count)
    while split != "chats" and held_out_operands(steps) != (split == "test"):
        steps = _steps(rng, opening, count)
    person, other = rng.sample(_words(PEOPLE, split), 2)
    color, second_color = rng.sample(COLORS, 2)
    words = {"p": person, "q": other, "t": rng.choice(_words(THINGS, split)), "h": rng.choice(_words(HOLDERS, split))}
    words |= {"c": color, "d": second_color}
    sentences = [rng.choice(templates[opening]).format(a=steps[0].left, b=steps[0].right, **words)]
    for step in steps if opening == "have" else steps[1:]:
        sentences.append(rng.choice(templates[KIND_OF_SIGN[step.sign]]).format(b=step.right, **words))
    ask = "ask_part" if steps[-1].sign == "/" else "ask"
    sentences.append(rng.choice(templates[ask]).format(**words))
    answer = " ".join(f"{step}." for step in steps) + f" #### {steps[-1].result}"
    return Example(" ".join(sentences), answer)


def _drawer(split: str) -> Callable[[random.Random], Example]:
    def draw(rng: random.Random) -> Example:
        return _problem(rng, split, rng.choices((1, 2, 3), weights=STEP_WEIGHTS)[0])

    return draw


def train_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct training rows of two or three steps (see `rows.training_row`)."""
    return [training_row(example) for example in distinct(_drawer("train"), count, f"math-train-{seed}")]


def test_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` distinct evaluation rows of two or three steps (see `rows.evaluation_row`)."""
    return [evaluation_row(example) for example in distinct(_drawer("test"), count, f"math-test-{seed}")]


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield endless (user, assistant) pairs for pretraining: one to three steps, as `CHAT_STEP_WEIGHTS` says."""
    while True:
        example = _problem(rng, "chats", rng.choices((1, 2, 3), weights=CHAT_STEP_WEIGHTS)[0])
        yield example.user, example.answer


def _facts(rng: random.Random) -> str:
    """A line of equations, or a chain in which each begins with the last result."""
    if rng.random() < 0.5:
        value, parts = rng.randint(2, 60), []
        for _ in range(rng.randint(2, 5)):
            step = _next_step(rng, value, last=False)
            parts.append(f"{step}.")
            value = step.result
        return " ".join(parts)
    form = rng.choice(("{}{}{}={}.", "{} {} {} = {}.", "{}{}{}={}"))
    steps = [_next_step(rng, rng.randint(2, 70), last=True) for _ in range(rng.randint(4, 10))]
    return rng.choice((" ", "\n")).join(form.format(*step) for step in steps)


def _times_table(rng: random.Random) -> str:
    factor = rng.randint(2, 12)
    top = min(12, 99 // factor)
    return f"The table of {factor}\n" + "\n".join(f"{n}*{factor}={n * factor}" for n in range(1, top + 1))


def _number_line(rng: random.Random) -> str:
    stride = rng.choice((1, 1, 2, 3, 4, 5, 10))
    start = rng.randint(0, 99 - 3 * stride)
    values = list(range(start, 100, stride))[: rng.randint(4, 14)]
    if rng.random() < 0.3:
        return f"Counting down by {stride}: " + " ".join(map(str, reversed(values)))
    return f"Counting by {stride}: " + " ".join(map(str, values))


def _addition_table(rng: random.Random) -> str:
    right, sign = rng.randint(2, 30), rng.choice("+-")
    start = rng.randint(30, 60)
    lines = (n + right if sign == "+" else n - right for n in range(start, start + 8))
    return "\n".join(f"{n}{sign}{right}={result}" for n, result in zip(range(start, start + 8), lines, strict=True))


def _story(rng: random.Random) -> str:
    """A narrative with quantities: it states each new number itself and asks nothing."""
    person, other = rng.sample(_words(PEOPLE, "chats"), 2)
    thing = rng.choice(_words(THINGS, "chats"))
    value = rng.randint(4, 50)
    sentences = [f"{person} had {value} {thing}."]
    for _ in range(rng.randint(1, 3)):
        step = _next_step(rng, value, last=False)
        value = step.result
        told = {
            "+": (f"{other} gave {person} another {step.right}", f"{person} found {step.right} {thing} more"),
            "-": (f"{person} sold {step.right} of them to {other}", f"{step.right} {thing} were lost"),
            "*": (f"A year went by and the {thing} grew to {step.right} times as many",),
        }[step.sign]
        sentences.append(f"{rng.choice(told)}, and that made {step}, so {person} owned {value} {thing}.")
    return " ".join(sentences)


def _table(rng: random.Random) -> str:
    things = rng.sample(_words(THINGS, "chats"), 3)
    counts = [rng.randint(2, 30) for _ in things]
    lines = [f"{thing} | {number}" for thing, number in zip(things, counts, strict=True)]
    return "\n".join(["thing | number", *lines, f"sum | {sum(counts)}"])


def _comparison(rng: random.Random) -> str:
    left, right = rng.sample(range(2, 99), 2)
    low, high = sorted((left, right))
    return rng.choice(
        (
            f"{high} is more than {low}, since {high}-{low}={high - low}.",
            f"{low} is less than {high}. The difference is {high}-{low}={high - low}.",
            f"Between {low} and {high} the larger number is {high}.",
        )
    )


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts: equations, times tables, number lines, stories with quantities, tables."""
    kinds = (_facts, _times_table, _number_line, _addition_table, _story, _table, _comparison)
    while True:
        yield rng.choices(kinds, weights=(8, 2, 1, 2, 4, 1, 1))[0](rng)
