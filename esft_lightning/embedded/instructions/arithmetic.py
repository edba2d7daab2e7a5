"""Arithmetic in steps, and the bare result, in forms that the task of word problems does not have.

    Start with 12, add 5, take away 3. Show each step.   -> 12+5=17, 17-3=14. The result is 14.
    Quanzin: 12, Holder: 31. Together?                   -> 12+31=43

Chains of two steps and more are those of the pretraining pool (:func:`esft_lightning.embedded.math.chain`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from esft_lightning.embedded.instructions.questions import Draw
from esft_lightning.embedded.instructions.words import noun
from esft_lightning.embedded.math import Step, chain
from esft_lightning.embedded.pools import name

__all__ = ["amounts", "steps"]

_WORDS = {
    "+": ("add {}", "plus {}", "{} more", "put {} on top"),
    "-": ("take away {}", "minus {}", "{} less", "without {}"),
    "*": ("times {}", "multiply by {}", "taken {} times"),
    "/": ("divide by {}", "shared by {}", "split into {} parts"),
}
_OPENINGS = ("Start with {}", "Begin at {}", "Take {}", "From {}", "{}")


def _equations(chained: Sequence[Step]) -> list[str]:
    return [f"{step.left}{step.sign}{step.right}={step.result}" for step in chained]


_ANSWERS: dict[str, Callable[[Sequence[Step]], str]] = {
    "Show each step.": lambda c: f"{', '.join(_equations(c))}. The result is {c[-1].result}.",
    "Steps, one a line.": lambda c: "\n".join([*_equations(c), f"result {c[-1].result}"]),
    "In steps, then the result.": lambda c: f"{' then '.join(_equations(c))}, so {c[-1].result}",
    "As JSON, with steps.": lambda c: json.dumps({"steps": _equations(c), "result": c[-1].result}),
    "All values in a row.": lambda c: " ".join(str(v) for v in (c[0].left, *(step.result for step in c))),
    "List the steps.": lambda c: "\n".join(f"- {line}" for line in _equations(c)),
}


def steps(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a chain of one to four operations in words, worked out step by step."""
    order, answer = rng.choice(list(_ANSWERS.items()))
    opening, joint = rng.choice(_OPENINGS), rng.choice((", ", ", then ", "; ", ". Then "))
    words = {sign: rng.choice(said) for sign, said in _WORDS.items()}
    bare = shown and rng.random() < 0.5
    most = rng.choice((2, 3, 4))

    def draw(rng: random.Random) -> tuple[str, str]:
        chained = chain(rng, rng.randint(1, most))
        parts = [opening.format(chained[0].left), *(words[step.sign].format(step.right) for step in chained)]
        return joint.join(parts) + ("." if bare else f". {order}"), answer(chained)

    return draw


def amounts(rng: random.Random, shown: bool) -> Draw:
    """A kind of question: a sum or difference of two amounts that are found in a list."""
    thing, more = noun(rng), rng.random() < 0.4
    order = rng.choice(
        ("How many more than {b} has {a}?", "{a} less {b}?") if more else ("{a} and {b} together?", "Add {a} and {b}.")
    )
    form, joint = rng.choice(("{}: {}", "{} has {}", "{} = {}")), rng.choice((", ", "; ", "\n"))
    count = rng.randint(2, 6)

    def draw(rng: random.Random) -> tuple[str, str]:
        values = {name(rng): rng.randint(2, 49) for _ in range(count)}
        while len(values) < 2:
            values[name(rng)] = rng.randint(2, 49)
        first, second = rng.sample(list(values), 2)
        if more and values[first] < values[second]:
            first, second = second, first
        one, two = values[first], values[second]
        text = joint.join(form.format(*pair) for pair in values.items())
        asked = order.format(a=first, b=second)
        return f"Counted: {thing}. {text}\n{asked}", f"{one}-{two}={one - two}" if more else f"{one}+{two}={one + two}"

    return draw
