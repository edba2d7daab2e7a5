"""Word problems before they are asked: the worked steps of a pool, and the sentences that call for them.

Every pair of consecutive steps belongs to the pool that a hash of it says (`pair_pool`), and a problem of a pool has
pairs of that pool alone: what is worked in a test problem is worked nowhere else, whatever its wording.
"""

import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from esft_lightning.embedded.math.wordings import COLORS, HOLDERS, IDLE, SENTENCES, THINGS
from esft_lightning.embedded.pools import Pool, name, pool_of

__all__ = ["NoStepError", "Problem", "Sheet", "Step", "chain", "draw_problem", "next_step", "pair_pool", "works_only"]

_TRIES = 40
_IDLE_SHARE = 0.25
_EQUATION = re.compile(r"(\d+) ?([-+*/]) ?(\d+) ?(?:=|is) ?(\d+)")


class Step(NamedTuple):
    """One worked step: `left sign right = result`."""

    left: int
    sign: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}={self.result}"


class Problem(NamedTuple):
    """A problem's text and its worked steps."""

    text: str
    steps: list[Step]


class NoStepError(Exception):
    """No step of the pool follows; what was begun is drawn again."""


_KIND_OF_SIGN = {"+": "add", "-": "sub", "*": "mul", "/": "div"}


def pair_pool(first: Step, second: Step) -> Pool:
    """The pool that two consecutive steps belong to."""
    return pool_of(f"{first} {second}")


def works_only(text: str, pool: Pool) -> bool:
    """Whether all consecutive equations of a text, whatever stands between them, are pairs of one pool."""
    steps = [Step(int(left), sign, int(right), int(result)) for left, sign, right, result in _EQUATION.findall(text)]
    return all(pair_pool(*pair) == pool for pair in pairwise(steps))


def _divisors(value: int) -> list[int]:
    return [d for d in range(2, 10) if value % d == 0 and value // d >= 2]


def next_step(rng: random.Random, value: int, last: bool) -> Step:
    """Continue from `value` by an operation that stays in 0..99; only a last step divides (the parts end the story)."""
    kinds = ["+"] * 4 * (value <= 90) + ["-"] * 4 * (value >= 4) + ["*"] * (2 <= value <= 30)
    if last and value >= 4 and _divisors(value):
        kinds.append("/")
    sign = rng.choice(kinds or ["+"])
    if sign == "+":
        right = rng.randint(2, max(2, min(30, 99 - value)))
        return Step(value, sign, right, value + right)
    if sign == "-":
        right = rng.randint(2, min(30, value - 1))
        return Step(value, sign, right, value - right)
    if sign == "*":
        right = rng.randint(2, min(5, 99 // value))
        return Step(value, sign, right, value * right)
    right = rng.choice(_divisors(value))
    return Step(value, sign, right, value // right)


class Sheet:
    """Worked steps in their order, of which every consecutive pair is of one pool.

    Attributes:
        steps: What has been worked.
    """

    def __init__(self, rng: random.Random, pool: Pool = "pretraining") -> None:
        """Begin an empty sheet.

        Args:
            rng: Draws the steps.
            pool: The pool of all pairs.
        """
        self.rng, self.pool = rng, pool
        self.steps: list[Step] = []

    def add(self, draw: Callable[[], Step]) -> Step:
        """Append a drawn step with a result in 1..99; drawn again until its pair with the last one is of the pool.

        Raises:
            NoStepError: None was drawn; begin anew.
        """
        for _ in range(_TRIES):
            step = draw()
            if 0 < step.result < 100 and (not self.steps or pair_pool(self.steps[-1], step) == self.pool):
                self.steps.append(step)
                return step
        raise NoStepError

    def chain(self, count: int, start: int | None = None) -> list[Step]:
        """Append `count` steps, each beginning with the result of the one before, the first with `start`."""
        value = self.rng.randint(4, 60) if start is None else start
        added: list[Step] = []
        while len(added) < count:
            last = len(added) == count - 1
            added.append(self.add(lambda value=value, last=last: next_step(self.rng, value, last)))
            value = added[-1].result
        return added


def chain(rng: random.Random, count: int, pool: Pool = "pretraining") -> list[Step]:
    """`count` steps, each beginning with the result of the one before; all pairs are of the pool."""
    while True:
        try:
            return Sheet(rng, pool).chain(count)
        except NoStepError:
            continue


class _Teller:
    """Draws names and things once, and words each sentence from the templates of a pool."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self.rng = rng
        self.pool: Pool = pool
        self.words = {"p": name(rng, pool), "t": rng.choice(THINGS), "h": rng.choice(HOLDERS)}
        self.words["q"] = name(rng, pool)
        while self.words["q"] == self.words["p"]:
            self.words["q"] = name(rng, pool)
        self.words["c"], self.words["d"] = rng.sample(COLORS, 2)

    def say(self, kind: str, a: int = 0, b: int = 0) -> str:
        return self.rng.choice(SENTENCES[kind][self.pool]).format(a=a, b=b, **self.words)

    def idle(self) -> str:
        return self.rng.choice(IDLE[self.pool]).format(a=self.rng.randint(2, 40), **self.words)


def _running(rng: random.Random, tell: _Teller, sheet: Sheet, count: int) -> list[str]:
    """A number that grows and shrinks: it opens as it is, as holders of things, or as two colors together."""
    opening = "have" if count == 1 else rng.choice(("have", "have", "hold", "both"))
    start = None
    if opening == "hold":
        left, right = rng.randint(2, 6), rng.randint(2, 12)
        start = sheet.add(lambda: Step(left, "*", right, left * right)).result
    elif opening == "both":
        left, right = rng.randint(3, 40), rng.randint(3, 40)
        start = sheet.add(lambda: Step(left, "+", right, left + right)).result
    grown = sheet.chain(count - len(sheet.steps), start)
    said = [tell.say(opening, sheet.steps[0].left, sheet.steps[0].right)]
    said += [tell.say(_KIND_OF_SIGN[step.sign], b=step.right) for step in grown]
    return [*said, tell.say("ask_part" if grown[-1].sign == "/" else "ask")]


def _compared(rng: random.Random, tell: _Teller, sheet: Sheet, count: int) -> list[str]:
    """Two persons, of whom one has more, fewer or some times as many; both together are asked for."""
    kind, sign = rng.choice((("more", "+"), ("fewer", "-"), ("times", "*")))
    opening, value = "have", rng.randint(4, 40)
    if count == 3:
        left, right = rng.randint(2, 6), rng.randint(2, 9)
        opening, value = "hold", sheet.add(lambda: Step(left, "*", right, left * right)).result

    def other() -> Step:
        right = rng.randint(2, 4) if sign == "*" else rng.randint(2, 25)
        return Step(value, sign, right, {"+": value + right, "-": value - right, "*": value * right}[sign])

    step = sheet.add(other)
    sheet.add(lambda: Step(value, "+", step.result, value + step.result))
    first = sheet.steps[0]
    return [tell.say(opening, first.left, first.right), tell.say(kind, b=step.right), tell.say("ask_both")]


def _bought(rng: random.Random, tell: _Teller, sheet: Sheet, count: int) -> list[str]:
    """One purchase at a price and the change, or two purchases, their sum, and, with four steps, the change."""

    def cost() -> Step:
        left, right = rng.randint(2, 9), rng.randint(2, 9)
        return Step(left, "*", right, left * right)

    said: list[str] = []
    for _ in range(1 if count == 2 else 2):
        step = sheet.add(cost)
        said.append(tell.say("cost", step.left, step.right))
        tell.words["t"] = rng.choice([thing for thing in THINGS if thing != tell.words["t"]])
    spent = sheet.steps[0].result
    if count > 2:
        one, two = (step.result for step in sheet.steps)
        spent = sheet.add(lambda: Step(one, "+", two, one + two)).result
    if count == 3:
        return [*said, tell.say("ask_cost")]

    def change() -> Step:
        paid = rng.randint(min(spent + 1, 99), 99)
        return Step(paid, "-", spent, paid - spent)

    return [*said, tell.say("pay", sheet.add(change).left), tell.say("ask_left")]


def draw_problem(rng: random.Random, pool: Pool, count: int) -> Problem:
    """A problem of `count` steps (1 to 4), told in the wordings of the pool; every fourth has a number of no use."""
    kinds = [_running, _running] + [_compared] * (count in (2, 3)) + [_bought] * (count > 1)
    while True:
        tell, sheet = _Teller(rng, pool), Sheet(rng, pool)
        try:
            said = rng.choice(kinds)(rng, tell, sheet, count)
        except NoStepError:
            continue
        if rng.random() < _IDLE_SHARE:
            said.insert(rng.randint(1, len(said) - 1), tell.idle())
        return Problem(" ".join(said), sheet.steps)
