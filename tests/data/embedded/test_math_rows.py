"""The embedded math task: rows, split, and that its own references score."""

import random
import re
from itertools import islice

from esft_lightning.data.embedded import math
from esft_lightning.metrics.math import score_math

TRAIN = math.train_rows(5000, seed=3)
TEST = math.test_rows(1500, seed=3)


def users(rows: list[dict]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    assert math.train_rows(50, seed=3) == TRAIN[:50]
    assert math.test_rows(50, seed=3) == TEST[:50]
    assert users(math.train_rows(50, seed=4)) != users(TRAIN[:50])


def test_prompts_are_distinct_and_never_shared_between_train_test_and_pretraining() -> None:
    train, test = set(users(TRAIN)), {row["prompt"][len("User: ") : -len("\n\nAssistant:")] for row in TEST}
    pretraining = {user for user, _ in islice(math.chats(random.Random(0)), 5000)}
    assert len(train) == 5000
    assert len(test) == 1500
    assert not train & test
    assert not pretraining & (train | test)


def test_templates_people_and_things_of_the_splits_are_disjoint() -> None:
    for kind in math.TEMPLATES["train"]:
        shared = [set(math.TEMPLATES[a][kind]) & set(math.TEMPLATES[b][kind]) for a, b in SPLIT_PAIRS]
        assert not any(shared), kind
    train_words = set(re.findall(r"\w+", " ".join(users(TRAIN))))
    test_words = set(re.findall(r"\w+", " ".join(row["prompt"] for row in TEST)))
    for pool in (math.PEOPLE, math.THINGS, math.HOLDERS):
        assert not train_words & set(pool["test"])
        assert not test_words & set(pool["train"])


SPLIT_PAIRS = (("chats", "train"), ("chats", "test"), ("train", "test"))


def operands(answer: str) -> list[math.Step]:
    return [math.Step(int(a), s, int(b), int(c)) for a, s, b, c in re.findall(r"(\d+)([-+*/])(\d+)=(\d+)", answer)]


def test_operands_are_split_and_every_step_is_true_arithmetic_below_100() -> None:
    calculate = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    answers = [(row["messages"][1]["content"], False) for row in TRAIN] + [
        (row["raw_answers"][0], True) for row in TEST
    ]
    for answer, in_test in answers:
        steps = operands(answer)
        assert 1 <= len(steps) <= 3
        assert math.held_out_operands(steps) == in_test
        for step in steps:
            assert calculate[step.sign](step.left, step.right) == step.result
            assert step.sign != "/" or step.left % step.right == 0
            assert 0 < step.result < 100
        assert [step.left for step in steps[1:]] == [step.result for step in steps[:-1]]
        assert answer.endswith(f"#### {steps[-1].result}")


def test_every_operand_is_named_in_the_problem() -> None:
    for row in TRAIN[:1000]:
        steps = operands(row["messages"][1]["content"])
        named = [int(n) for n in re.findall(r"\d+", row["messages"][0]["content"])]
        assert named == [steps[0].left, *(step.right for step in steps)]


def test_own_reference_scores_one_and_a_wrong_number_scores_zero() -> None:
    for row in TEST:
        reference = row["raw_answers"][0]
        right = int(reference.split("#### ")[1])
        assert score_math(" " + reference, row) == 1.0
        assert score_math(reference.replace(f"#### {right}", f"#### {right + 1}"), row) == 0.0
        assert score_math("", row) == 0.0


def test_rows_stay_short() -> None:
    assert max(len(user) for user in users(TRAIN)) <= 350
    assert max(len(row["messages"][1]["content"]) for row in TRAIN) <= 160


def test_documents_hold_no_false_equation() -> None:
    for text in islice(math.documents(random.Random(5)), 500):
        for a, sign, b, c in re.findall(r"(?<!\d)(\d+) ?([-+*/]) ?(\d+) ?= ?(\d+)", text):
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) // int(b)}[
                sign
            ] == int(c)
