"""What pretraining reads of arithmetic: equations, tables, bills, diaries, and problems in other words than rows have.

No text here has the rows' `#### n`, and chains of two or more steps are of the pretraining pool (`problems.pair_pool`).
"""

import random
from collections.abc import Callable, Iterator

from esft_lightning.embedded.math.problems import NoStepError, Sheet, Step, chain, draw_problem, next_step
from esft_lightning.embedded.math.wordings import COLORS, HOLDERS, THINGS
from esft_lightning.embedded.pools import name

__all__ = ["chats", "documents"]

_CHAT_STEPS = {1: 4, 2: 4, 3: 2}


def chats(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield endless (user, assistant) pairs: problems of one to three steps, a sum to do, several sums at once."""
    while True:
        kind = rng.random()
        if kind < 0.75:
            count = rng.choices(list(_CHAT_STEPS), weights=list(_CHAT_STEPS.values()))[0]
            problem = draw_problem(rng, "pretraining", count)
            yield problem.text, _worked(rng, problem.steps)
        elif kind < 0.88:
            steps = chain(rng, rng.randint(2, 4))
            told = "".join(f" {_IN_WORDS[step.sign]} {step.right}" for step in steps)
            ask = rng.choice(
                ("Take {a}{t}. What do you get?", "Begin with {a}{t}. Where are you now?", "{a}{t} is what?")
            )
            yield ask.format(a=steps[0].left, t=told), _worked(rng, steps)
        else:
            try:
                steps = _unconnected(rng, Sheet(rng), rng.randint(3, 6))
            except NoStepError:
                continue
            asked = ", ".join(f"{step.left}{step.sign}{step.right}" for step in steps)
            yield f"Work out for {name(rng)}: {asked}", ", ".join(map(str, steps))


_IN_WORDS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_ORDINALS = ("First", "Then", "Next", "Last")


def _worked(rng: random.Random, steps: list[Step]) -> str:
    result = steps[-1].result
    form = rng.randrange(4)
    if form == 0:
        return ", ".join(map(str, steps)) + f". So it is {result}."
    if form == 1:
        return " ".join(f"{word} {step}." for word, step in zip(_ORDINALS, steps, strict=False)) + f" Answer: {result}"
    if form == 2:
        return "\n".join(f"{number}) {step}" for number, step in enumerate(steps, 1)) + f"\nThe result is {result}."
    return " and ".join(map(str, steps)) + f", which makes {result}."


def _unconnected(rng: random.Random, sheet: Sheet, count: int) -> list[Step]:
    return [sheet.add(lambda: next_step(rng, rng.randint(2, 70), last=True)) for _ in range(count)]


def _product(rng: random.Random, sheet: Sheet, most: int, most_each: int, least_each: int = 2) -> Step:
    def draw() -> Step:
        left, right = rng.randint(2, most), rng.randint(least_each, most_each)
        return Step(left, "*", right, left * right)

    return sheet.add(draw)


def _equations(rng: random.Random, sheet: Sheet) -> str:
    """A list of equations without connection, set by somebody."""
    form = rng.choice(("{}{}{}={}.", "{} {} {} = {}.", "{}{}{}={}", "{} {} {} is {}."))
    steps = _unconnected(rng, sheet, rng.randint(4, 24))
    head = rng.choice(("Sums of {}.", "{} works out:", "From the slate of {}:")).format(name(rng))
    return head + rng.choice((" ", "\n")) + rng.choice((" ", "\n")).join(form.format(*step) for step in steps)


def _chains(rng: random.Random, sheet: Sheet) -> str:
    lines = []
    for _ in range(rng.randint(1, 6)):
        steps = sheet.chain(rng.randint(2, 4))
        lines.append(f"{name(rng)}: " + rng.choice(("; ", ", ")).join(map(str, steps)))
    return "\n".join(lines)


def _times_tables(rng: random.Random, sheet: Sheet) -> str:
    parts = []
    for factor in rng.sample(range(2, 13), rng.randint(1, 3)):
        steps = [_product(rng, sheet, min(12, 99 // factor), factor, factor) for _ in range(5)]
        parts.append(f"Of {factor}: " + rng.choice((", ", "; ")).join(map(str, steps)))
    return f"{name(rng)} learns the tables.\n" + "\n".join(parts)


def _number_lines(rng: random.Random, sheet: Sheet) -> str:
    lines = []
    for _ in range(rng.randint(1, 4)):
        stride = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
        start = rng.randint(0, 99 - 3 * stride)
        values = list(range(start, 100, stride))[: rng.randint(4, 12)]
        down = rng.random() < 0.4
        told = " ".join(map(str, reversed(values) if down else values))
        lines.append(f"{name(rng)} counts {'down' if down else 'up'} by {stride}: {told}")
    return "\n".join(lines)


def _diary(rng: random.Random, sheet: Sheet) -> str:
    """A narrative with quantities: it states each new number itself and asks nothing."""
    sentences = []
    for _ in range(rng.randint(1, 5)):
        person, other, thing = name(rng), name(rng), rng.choice(THINGS)
        steps = sheet.chain(rng.randint(1, 3))
        sentences.append(f"{person} had {steps[0].left} {thing}.")
        for step in steps:
            told = {
                "+": (f"{other} brought {step.right} to {person}", f"{step.right} {thing} were added"),
                "-": (f"{person} let {other} have {step.right}", f"{step.right} {thing} went missing"),
                "*": (f"A year went by and there were {step.right} times as many",),
                "/": (f"{step.right} friends shared them equally",),
            }[step.sign]
            sentences.append(f"{rng.choice(told)}, and that made {step}, so {step.result} {thing} was the number.")
    return " ".join(sentences)


def _stock(rng: random.Random, sheet: Sheet) -> str:
    """A table of things that somebody has, its sum, and questions to it with their answers."""
    things = rng.sample(THINGS, rng.randint(2, 7))
    counts = [rng.randint(2, 14) for _ in things]
    lines = [f"{thing} | {number}" for thing, number in zip(things, counts, strict=True)]
    one, two = rng.sample(range(len(things)), 2)
    low, high = sorted((counts[one], counts[two]))
    more = f"More {things[one]} or {things[two]}? The difference is {high}-{low}={high - low}."
    return "\n".join([f"{name(rng)} has | number", *lines, f"sum | {sum(counts)}", more])


def _bill(rng: random.Random, sheet: Sheet) -> str:
    lines, total = [f"Bill for {name(rng)}, written by {name(rng)}"], 0
    for thing in rng.sample(THINGS, rng.randint(1, 4)):
        step = _product(rng, sheet, 6, 4)
        lines.append(f"{step.left} {thing} at {step.right} coins: {step}")
        total += step.result
    paid = rng.randint(total, 99)
    return "\n".join([*lines, f"all: {total} coins", f"given {paid}, back {paid - total}"])


def _packing(rng: random.Random, sheet: Sheet) -> str:
    lines = []
    for _ in range(rng.randint(1, 4)):
        step, thing = _product(rng, sheet, 8, 12), rng.choice(THINGS)
        kind, color = rng.choice(HOLDERS), rng.choice(COLORS)
        lines.append(
            f"{name(rng)} sends {step.left} {color} {kind}. Each holds {step.right} {thing}, so {step} {thing} travel "
            f"to {name(rng)}."
        )
    return " ".join(lines)


_KINDS: dict[Callable[[random.Random, Sheet], str], int] = {
    _equations: 5, _chains: 4, _times_tables: 1, _number_lines: 1, _diary: 5, _stock: 2, _bill: 2, _packing: 2,
}  # fmt: skip


def documents(rng: random.Random) -> Iterator[str]:
    """Yield endless pretraining texts: equations, chains, tables, number lines, diaries, stocks, bills, parcels."""
    while True:
        kind = rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
        try:
            yield kind(rng, Sheet(rng))
        except NoStepError:
            continue
