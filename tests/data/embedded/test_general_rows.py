"""The general data: facts are told, rows are distinct, and probes ask what pretraining never asked."""

import random
from itertools import cycle, islice

import pytest

from esft_lightning.data.embedded import general
from esft_lightning.data.embedded.general import chats, documents, train_rows, used_in_training
from esft_lightning.data.embedded.general_probes import PROBES, probes
from esft_lightning.data.embedded.world import KINDS, facts, values


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


def test_train_rows_are_distinct_deterministic_and_short():
    rows = train_rows(4000, seed=1)
    pairs = {(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows}
    assert len(pairs) == 4000
    assert rows == train_rows(4000, seed=1) != train_rows(4000, seed=2)
    assert all(len(user) <= 350 and 0 < len(answer) <= 160 for user, answer in pairs)


def test_more_rows_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(general, "chats", lambda rng: cycle([("a", "b"), ("c", "d")]))
    assert len(train_rows(2)) == 2
    with pytest.raises(ValueError, match=r"3 distinct rows asked for, only 2 found; ask for fewer"):
        train_rows(3)


def test_no_probe_prompt_is_met_in_pretraining_or_training():
    met = {user for user, _ in islice(chats(random.Random(5)), 30_000)}
    met |= {row["messages"][0]["content"] for row in train_rows(8000)}
    text = "\n".join(islice(documents(random.Random(5)), 4000))
    for name, rows in probes().items():
        for row in rows:
            asked = row["prompt"].removeprefix("User: ").removesuffix("\n\nAssistant:")
            assert asked not in met, name
            assert asked not in text, name


def test_stories_of_the_probes_have_pairs_of_their_own():
    rng = random.Random(0)
    told = list(islice(chats(rng), 5000))
    names = "Tom Ben Sam Jack Paul Max Leo Hugo Carl Otto Ann Eva Mia Lucy Kate Rose Ida Nora Ella Jane".split()  # noqa: SIM905
    for user, _ in told:
        present = sorted((user.index(name), name) for name in names if f"{name} " in user)
        if "Who " in user and len(present) == 2:
            assert used_in_training(present[0][1], present[1][1]), user


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
