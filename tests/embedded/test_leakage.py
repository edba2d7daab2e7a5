"""The search for held-out rows: planted ones are found in every way, and what is generated holds none."""

from itertools import islice

import pytest
from task_rows_of import pairs

from esft_lightning.data.leakage import HeldOutRows, find_leaks
from esft_lightning.embedded.corpus import WEIGHTS, domain_texts, everything
from esft_lightning.tasks import TASKS

READ = 800_000
"""Characters; `python -m esft_lightning.data.leakage` reads more."""


@pytest.fixture(scope="module")
def held_out() -> HeldOutRows:
    return HeldOutRows.embedded()


def texts(count: int) -> list[str]:
    return [text for domain in WEIGHTS for text in islice(domain_texts(domain, 11), count)]


def test_nothing_that_pretraining_reads_holds_a_row(held_out):
    leaks = held_out.find(everything(READ, seed=11))
    assert leaks.texts > 2000 and leaks.words > 30 * leaks.texts
    assert leaks.found == []


@pytest.mark.parametrize("task", ["law", "summary"])
def test_phrases_that_are_told_one_by_one_do_not_make_a_case_together(held_out, task):
    leaks = held_out.find(islice(domain_texts(task, 12), 3000))
    assert leaks.found == []


@pytest.mark.parametrize("task", TASKS)
def test_no_training_row_holds_a_held_out_one(held_out, task):
    leaks = held_out.find(f"{question}\n{answer}" for question, answer in pairs(task, "train"))
    assert leaks.words > 10_000
    assert leaks.found == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("pool", ["validation", "test"])
def test_planted_prompts_and_answers_are_found_among_other_text(held_out, task, pool):
    question, answer = pairs(task, pool)[17]
    other = texts(10)
    found = held_out.find([*other, f"As somebody wrote: {question.upper()} And so on.", *other]).found
    assert ("prompt", task, pool, 17) in {(leak.kind, leak.task, leak.pool, leak.row) for leak in found}
    found = held_out.find([*other, f"One more: {answer} The end."]).found
    kind = "body" if task == "math" else "answer"
    assert (kind, task, pool, 17) in {(leak.kind, leak.task, leak.pool, leak.row) for leak in found}


def test_a_part_of_a_prompt_is_found_by_its_words_in_a_row(held_out):
    question, _ = pairs("law", "test")[3]
    words = question.split()
    hits = held_out.find([f"It began: {' '.join(words[20:40])}, they say."]).found
    assert {(leak.kind, leak.task, leak.row) for leak in hits} == {("n-gram", "law", 3)}
    assert held_out.find([" ".join(words[20:28])]).found == []
    assert held_out.find([" ".join(words[:26]), " ".join(words[26:30])]).rows("law", "prompt") == 0


@pytest.mark.parametrize(
    ("task", "rewritten"),
    [
        ("math", lambda answer: answer.split(" ####")[0].replace(". ", " and then ").replace("=", " = ")),
        ("code", lambda answer: "z = 1\nprint(" + answer.split("return ")[1].replace("data", "q").replace("nums", "q")),
    ],
)
def test_worked_contents_are_found_whatever_is_written_around_them(held_out, task, rewritten):
    numbers = [n for n, (_, answer) in enumerate(pairs(task, "test")) if "nums" in answer or task == "math"][:5]
    for number in numbers:
        found = held_out.find([rewritten(pairs(task, "test")[number][1])]).found
        assert any(leak.kind == "body" and leak.task == task for leak in found)


def test_a_run_never_goes_over_the_end_of_a_text():
    rows = HeldOutRows([("law", "test", 0, "one two three four five six", "seven eight nine ten")], ngram=5)
    assert {leak.kind for leak in rows.find(["zero one two three four five six"]).found} == {"prompt", "n-gram"}
    assert rows.find(["one two three", "four five six seven", "eight nine ten"]).found == []
    assert {leak.kind for leak in rows.find(["so seven EIGHT, nine-ten"]).found} == {"answer"}


def test_a_search_by_task_says_what_it_found_in_a_table():
    question, _ = pairs("intent", "validation")[0]
    leaks = find_leaks([question], tasks=("intent",))
    assert "| intent | 1 | 0 | 0 | 1 |" in leaks.table(("intent",))
