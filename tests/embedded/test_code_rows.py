"""The embedded code task: its references pass their tests, changed ones fail, and no body is in two pools."""

import random
import re
from itertools import islice

import pytest
from task_rows_of import ROW_POOLS, assert_apart, pairs, rows

from esft_lightning.embedded.code import body_pool, canonical, documents, specification
from esft_lightning.embedded.code.specifications import ARGUMENTS, LAYOUTS
from esft_lightning.tasks.code_score import score_code_batch


@pytest.mark.parametrize("pool", ROW_POOLS)
def test_bodies_are_of_the_pool_and_names_stand_in_the_question(pool):
    bodies = set()
    for question, answer in pairs("code", pool):
        name, argument, body = re.fullmatch(r"def (\w+)\((\w+)\):\n    return (.+)", answer).groups()
        assert body_pool(body) == pool
        assert {name, argument} <= set(re.findall(r"\w+", question))
        assert any(argument in by_pool[pool] for by_pool in ARGUMENTS.values())
        bodies.add(canonical(body))
    assert len(bodies) > 0.4 * len(pairs("code", pool))


def test_layouts_and_arguments_of_the_pools_are_disjoint():
    assert_apart(LAYOUTS, "layouts")
    assert_apart({pool: tuple(a for kind in ARGUMENTS.values() for a in kind[pool]) for pool in LAYOUTS}, "arguments")


def test_a_body_is_the_same_under_other_names_and_spaces():
    assert canonical("[x * 3 for x in xs if x > 5]") == canonical("[n*3 for n in values if n > 5],")
    assert canonical("s.replace('a', 'b')[:3]") == canonical("text.replace('a', 'b')[:3]")
    assert canonical("a * 3 + 5") != canonical("a * 3 + 6")
    assert canonical("s.upper()") != canonical("s.lower()")


def test_own_references_pass_and_empty_functions_fail():
    some = rows("code", "test")[:30]
    references = [row["raw_answers"][0] for row in some]
    assert score_code_batch([f" {text}" for text in references], some, allow_code_execution=True) == [1.0] * 30
    returning_none = [text.split("\n")[0] + "\n    return None" for text in references]
    assert score_code_batch(returning_none[:10], some[:10], allow_code_execution=True) == [0.0] * 10


def test_references_with_one_constant_changed_fail():
    """Each constant one higher; a few changed programs mean the same, so a small share may pass."""
    changed = passed = 0
    for row in rows("code", "test"):
        reference = row["raw_answers"][0]
        for place in re.finditer(r"(?<!% )(?<!== )\b(\d+)\b", reference):
            scope: dict = {}
            exec(f"{reference[: place.start()]}{int(place[1]) + 1}{reference[place.end() :]}", scope)
            changed += 1
            passed += all(eval(test.removeprefix("assert "), scope) for test in row["tests"])
    assert changed > 500
    assert passed / changed < 0.05


def test_what_documents_show_is_true_and_composed_bodies_are_of_pretraining():
    checked = composed = 0
    for text in islice(documents(random.Random(5)), 200):
        calls = re.findall(r">>> (.+)\n(.+)", text)
        program = re.sub(r">>> .+\n.+\n?", "", text).replace("print(", "(")
        scope: dict = {}
        exec(program, scope)  # its own asserts are run, too
        assert all(repr(eval(call, scope)) == result for call, result in calls), text
        checked += len(calls)
    rng = random.Random(0)
    reserved = {canonical(specification(rng, pool).returned("x")) for pool in ROW_POOLS for _ in range(2000)}
    for text in islice(documents(random.Random(6)), 400):
        for body in re.findall(r"return (.+)", text):
            composed += body_pool(body) == "pretraining"
            assert canonical(body) not in reserved or body_pool(body) == "pretraining"
    assert checked > 50
    assert composed > 100
