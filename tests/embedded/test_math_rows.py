"""The embedded math task: true steps that its problem calls for, and chains that no other pool works."""

import random
import re
from itertools import islice, pairwise

import pytest
from task_rows_of import ROW_POOLS, assert_apart, pairs, rows

from esft_lightning.embedded.math import Step, chain, chats, documents, pair_pool
from esft_lightning.embedded.math.wordings import IDLE, SENTENCES
from esft_lightning.tasks.math_score import score_math

EQUATION = re.compile(r"(\d+) ?([-+*/]) ?(\d+) ?(?:=|is) ?(\d+)")
CALCULATE = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}


def steps_of(text: str) -> list[Step]:
    return [Step(int(a), sign, int(b), int(c)) for a, sign, b, c in EQUATION.findall(text)]


def assert_true(steps: list[Step]) -> None:
    for step in steps:
        assert CALCULATE[step.sign](step.left, step.right) == step.result, step
        assert step.sign != "/" or step.left % step.right == 0


@pytest.mark.parametrize("pool", ROW_POOLS)
def test_steps_are_true_and_every_pair_of_them_is_of_the_pool(pool):
    for _, answer in pairs("math", pool):
        steps = steps_of(answer)
        assert 2 <= len(steps) <= 4
        assert_true(steps)
        assert all(0 < step.result < 100 for step in steps)
        assert {pair_pool(*pair) for pair in pairwise(steps)} == {pool}
        assert answer.endswith(f"#### {steps[-1].result}")


def test_every_number_that_is_worked_with_stands_in_the_problem_or_was_worked_out():
    for question, answer in pairs("math", "train")[:1500]:
        known = {int(number) for number in re.findall(r"\d+", question)}
        for step in steps_of(answer):
            assert {step.left, step.right} <= known, (question, answer)
            known.add(step.result)


def test_pretraining_works_pairs_of_its_own_pool_alone_and_all_are_true():
    texts = list(islice(documents(random.Random(5)), 600))
    texts += [f"{user} {assistant}" for user, assistant in islice(chats(random.Random(5)), 600)]
    met = 0
    for text in texts:
        steps = steps_of(text)
        assert_true(steps)
        assert all(pair_pool(*pair) == "pretraining" for pair in pairwise(steps)), text
        met += len(steps)
    assert met > 3000


def test_chains_go_on_from_their_results():
    steps = chain(random.Random(1), 4, "test")
    assert len(steps) == 4
    for first, second in pairwise(steps):
        assert first.result == second.left and pair_pool(first, second) == "test"


def test_sentences_of_the_pools_are_disjoint():
    for kind, wordings in {**SENTENCES, "idle": IDLE}.items():
        assert set(wordings) == {"pretraining", "train", "validation", "test"}
        assert_apart(wordings, kind)


def test_own_reference_scores_one_and_a_wrong_number_scores_zero():
    for row in rows("math", "test")[:200]:
        reference = row["raw_answers"][0]
        right = int(reference.split("#### ")[1])
        assert score_math(" " + reference, row) == 1.0
        assert score_math(reference.replace(f"#### {right}", f"#### {right + 1}"), row) == 0.0
