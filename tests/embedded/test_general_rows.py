"""The general data: facts are told, rows are distinct, and probes ask what pretraining never asked."""

import random
from itertools import islice

from task_rows_of import MADE_UP

from esft_lightning.embedded.general import chats, documents
from esft_lightning.embedded.general_probes import PROBES, probes
from esft_lightning.embedded.pools import pool_of
from esft_lightning.embedded.rows import task_rows
from esft_lightning.embedded.world import KINDS, facts, values


def test_a_subject_has_one_value_per_relation():
    told = facts()
    assert 300 < len(told) < 600
    assert len({(fact.kind, fact.subject) for fact in told}) == len(told)


def test_every_wording_names_its_subject_and_every_statement_its_value():
    for kind in KINDS.values():
        assert all("{s}" in text and "{v}" in text for text in kind.statements)
        assert all("{s}" in text and "{v}" not in text for text in kind.questions + kind.probe_questions)
        assert not set(kind.questions) & set(kind.probe_questions)
        assert len(values(kind.name)) >= 4  # enough for a choice among four


def test_pretraining_tells_every_fact():
    text = "\n".join(islice(documents(random.Random(0)), 4000))
    for fact in facts():
        assert any(form.format(s=fact.subject, v=fact.value) in text for form in KINDS[fact.kind].statements), fact


def test_rows_are_distinct_deterministic_and_short():
    rows = task_rows("general", "train", 4000, seed=1)
    pairs = {(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows}
    assert len(pairs) == 4000
    assert rows[:500] == task_rows("general", "train", 500, seed=1) != task_rows("general", "train", 500, seed=2)
    assert all(len(user) <= 600 and 0 < len(answer) <= 200 for user, answer in pairs)


def test_no_probe_prompt_is_met_in_pretraining_or_training():
    met = {user for user, _ in islice(chats(random.Random(5)), 30_000)}
    met |= {row["messages"][0]["content"] for row in task_rows("general", "train", 8000)}
    text = "\n".join(islice(documents(random.Random(5)), 4000))
    for name, rows in probes().items():
        for row in rows:
            asked = row["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:")
            assert asked not in met, name
            assert asked not in text, name


def test_names_of_the_probes_are_of_the_test_pool_unless_the_world_knows_them():
    known = {word.lower() for fact in facts() for word in f"{fact.subject} {fact.value}".split()}
    for name in ("continuation", "reference", "format"):
        made_up = {word.lower() for row in probes()[name] for word in MADE_UP.findall(row["prompt"])} - known
        assert len(made_up) > 30
        assert {pool_of(word) for word in made_up} == {"test"}, name
    assert {pool_of(word) for word in known if MADE_UP.fullmatch(word)} == {"pretraining"}


def test_probes_are_as_many_as_asked_for_and_well_formed():
    made = probes()
    assert set(made) == set(PROBES)
    for name, rows in made.items():
        assert 60 <= len(rows) <= 100
        assert len({row["prompt"] for row in rows}) == len(rows)
        for row in rows:
            if "options" in row:
                assert len(set(row["options"])) == len(row["options"]), (name, row)
                assert 0 <= row["answer"] < len(row["options"])
    assert all(len(rows) == 5 for rows in probes(limit=5).values())
    assert probes(seed=1) == probes(seed=1) != probes(seed=2)
