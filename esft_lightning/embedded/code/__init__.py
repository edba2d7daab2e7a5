"""Code: a short specification, answered by a short Python function (an enhancement task, like HumanEval and MBPP).

One row::

    user:      Complete the task in Python. Name: tarnel. Argument: xs, a list of integers. Result: the sum of all
               numbers in xs that are greater than 5, each times 3.
    assistant: def tarnel(xs):
                   return sum(x * 3 for x in xs if x > 5)
    extras:    {"tests": ["assert tarnel([4, 5, 6]) == 18", …], "entry_point": "tarnel"}

Scored by running the function against its tests (`esft_lightning.tasks.code_score`).

Held apart (`pools`): layouts of the specification, names of functions and arguments, and bodies: every expression of
two or more operations belongs to one pool (`body_pool`), and rows have no other. Shared: Python, what a single
operation is called, and single operations. What pretraining reads is in `reading`.
"""

import random

from esft_lightning.embedded.code.reading import chats, documents
from esft_lightning.embedded.code.specifications import (
    ARGUMENTS,
    KINDS,
    LAYOUTS,
    Specification,
    body_pool,
    canonical,
    specification,
)
from esft_lightning.embedded.code.trials import assertions
from esft_lightning.embedded.pools import Pool, word
from esft_lightning.embedded.rows import Example

__all__ = ["Specification", "body_pool", "canonical", "chats", "documents", "example", "specification"]


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw one specification with its function, and for evaluation rows its tests."""
    while True:
        spec = specification(rng, pool)
        name, argument = word(rng, pool), rng.choice(ARGUMENTS[spec.kind][pool])
        layout = rng.choice(LAYOUTS[pool])
        user = layout.format(name=name, arg=argument, kind=KINDS[spec.kind], what=spec.what(argument))
        answer = spec.function(name, argument)
        if pool == "train":
            return Example(user, answer)
        if tests := assertions(name, answer, spec.kind, seed=user):
            return Example(user, answer, {"tests": tests, "entry_point": name})
