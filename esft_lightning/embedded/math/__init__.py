"""Math: word problems of two to four steps, answered by worked steps that end in `#### n` (as in GSM8K).

One row::

    user:      Lumpan keeps 3 boxes with 12 pens in each. Then Dordor gives 5 more pens to Lumpan. What is the new
               number of pens?
    assistant: 3*12=36. 36+5=41. #### 41

Scored by equality of the final number (`esft_lightning.tasks.math_score`). All numbers lie in 0..99.

Held apart (`pools`): sentence templates (`wordings`), names of persons, and worked content: every pair of consecutive
steps belongs to one pool (`pair_pool`), so that no two steps of a test problem have been seen together. Shared: the
things that are counted, single equations, numbers below 100. What pretraining reads is in `reading`.
"""

import random

from esft_lightning.embedded.math.problems import Problem, Step, chain, draw_problem, pair_pool, works_only
from esft_lightning.embedded.math.reading import chats, documents
from esft_lightning.embedded.pools import Pool
from esft_lightning.embedded.rows import Example

__all__ = ["Problem", "Step", "chain", "chats", "documents", "draw_problem", "example", "pair_pool", "works_only"]

STEP_WEIGHTS = {2: 3, 3: 4, 4: 2}
"""How often problems of rows have so many steps."""


def example(rng: random.Random, pool: Pool) -> Example:
    """Draw one problem with its worked answer."""
    count = rng.choices(list(STEP_WEIGHTS), weights=list(STEP_WEIGHTS.values()))[0]
    problem = draw_problem(rng, pool, count)
    answer = " ".join(f"{step}." for step in problem.steps) + f" #### {problem.steps[-1].result}"
    return Example(problem.text, answer)
