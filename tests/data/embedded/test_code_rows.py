"""The embedded code task: rows, split, and that its own references pass their tests while changed ones fail."""

import random
import re
from itertools import islice

import pytest

from esft_lightning.data.embedded import code
from esft_lightning.data.embedded.rows import Example, distinct, word_pools
from esft_lightning.metrics.code import score_code_batch

TRAIN = code.train_rows(5000, seed=3)
TEST = code.test_rows(1500, seed=3)


def users(rows: list[dict]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    assert code.train_rows(50, seed=3) == TRAIN[:50]
    assert code.test_rows(50, seed=3) == TEST[:50]
    assert users(code.train_rows(50, seed=4)) != users(TRAIN[:50])


def test_prompts_are_distinct_and_never_shared_between_train_test_and_pretraining() -> None:
    train, test = set(users(TRAIN)), {row["prompt"][len("User: ") : -len("\n\nAssistant:")] for row in TEST}
    pretraining = {user for user, _ in islice(code.chats(random.Random(0)), 5000)}
    assert len(train) == 5000
    assert len(test) == 1500
    assert not train & test
    assert not pretraining & (train | test)


def test_layouts_names_and_constants_of_the_splits_are_disjoint() -> None:
    layouts = [set(code.LAYOUTS[split]) for split in ("chats", "train", "test")]
    assert sum(map(len, layouts)) == len(set.union(*layouts))
    for in_test, answers in (
        (False, [row["messages"][1]["content"] for row in TRAIN]),
        (True, [row["raw_answers"][0] for row in TEST]),
    ):
        split, other = ("test", "train") if in_test else ("train", "test")
        for answer in answers:
            head, body = answer.split("\n")
            name, argument = re.fullmatch(r"def (\w+)\((\w+)\):", head).groups()
            assert name in code.NAMES[split]
            assert name not in code.NAMES[other]
            assert any(argument in pool[split] for pool in code.ARGUMENTS.values())
            body = body.replace("% 2 == 0", "").replace("% 2 == 1", "").replace("[::-1]", "")
            assert all(code.in_test_constants(int(number)) == in_test for number in re.findall(r"\d+", body)), answer


def test_own_references_pass_and_empty_functions_fail() -> None:
    rows = TEST[:40]
    references = [row["raw_answers"][0] for row in rows]
    assert score_code_batch([f" {text}" for text in references], rows, allow_code_execution=True) == [1.0] * 40
    returning_none = [text.split("\n")[0] + "\n    return None" for text in references]
    assert score_code_batch(returning_none[:20], rows[:20], allow_code_execution=True) == [0.0] * 20


def test_references_with_one_constant_changed_fail() -> None:
    """Each constant one higher; a few changed programs mean the same, so a small share may pass."""
    changed = passed = 0
    for row in TEST[:600]:
        reference = row["raw_answers"][0]
        for place in re.finditer(r"(?<!% )(?<!== )\b(\d+)\b", reference):
            scope: dict = {}
            exec(f"{reference[: place.start()]}{int(place[1]) + 1}{reference[place.end() :]}", scope)
            changed += 1
            passed += all(eval(test.removeprefix("assert "), scope) for test in row["tests"])
    assert changed > 500
    assert passed / changed < 0.05


def test_references_are_short_python() -> None:
    for row in TRAIN:
        answer = row["messages"][1]["content"]
        compile(answer, "<row>", "exec")
        assert len(answer) <= 160
    assert max(len(user) for user in users(TRAIN)) <= 350


def test_doctest_sessions_and_asserts_in_documents_are_true() -> None:
    checked = 0
    for text in islice(code.documents(random.Random(5)), 300):
        scope: dict = {}
        program, *session = text.split("\n>>> ")
        exec(program.replace("print(", "("), scope)
        for entry in session:
            call, result = entry.strip("\n").split("\n")
            assert repr(eval(call, scope)) == result
            checked += 1
    assert checked > 50


def test_asking_for_more_than_there_is_says_so() -> None:
    with pytest.raises(ValueError, match="only 3 distinct prompts"):
        list(distinct(lambda rng: Example(str(rng.randrange(3)), "x"), 4, seed=0))
    with pytest.raises(ValueError, match="stand in train and in test: \\['b'\\]"):
        word_pools("a b", "b c")
