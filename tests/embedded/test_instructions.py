"""The instruction stage: its answers are right, its made-up contents of the pretraining pool, its forms no task's."""

import ast
import json
import random
import re
from itertools import islice, pairwise

import pytest

from esft_lightning.embedded import instructions
from esft_lightning.embedded.instructions import KINDS, chats, documents
from esft_lightning.embedded.instructions.glossaries import glossaries
from esft_lightning.embedded.instructions.questions import chat
from esft_lightning.embedded.instructions.records import FORMATS
from esft_lightning.embedded.math import Step, pair_pool
from esft_lightning.embedded.pools import SYLLABLES, pool_of
from esft_lightning.embedded.translation import ADJECTIVES, LETTERS, NOUNS, VERBS

CHATS = list(islice(chats(random.Random(0)), 2500))
TEXT = "\n".join(f"{user}\n{answer}" for user, answer in CHATS) + "\n".join(islice(documents(random.Random(0)), 500))


def drawn(kind, count=60, shots=0):
    for seed in range(count):
        yield chat(kind, random.Random(seed), shots)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_is_a_function_of_its_random_numbers_and_always_answers(kind):
    for shots in (0, 4):
        questions = list(drawn(kind, 30, shots))
        assert questions == list(drawn(kind, 30, shots))
        assert all(question and answer for question, answer in questions)
        assert len(set(questions)) > 28


def test_few_shot_prompts_hold_solved_questions_of_the_same_kind():
    one, four = (sum(len(user) for user, _ in drawn(instructions.records, 60, shots)) for shots in (0, 4))
    assert 3 * one < four < 7 * one
    user, answer = chat(instructions.amounts, random.Random(3), 3)
    *solved, question = user.split("\n\n")
    assert len(solved) == 3
    for example in solved:
        left, sign, right, result = re.search(r"(\d+)([+-])(\d+)=(\d+)$", example).groups()
        assert int(result) == (int(left) + int(right) if sign == "+" else int(left) - int(right))
    assert not re.search(r"=\d+$", question) and "=" in answer


def test_made_up_words_and_large_numbers_are_of_the_pretraining_pool():
    made = re.compile(rf"\b(?:{'|'.join(SYLLABLES)}){{2,3}}\b", re.IGNORECASE)
    words = {match.group().lower() for match in made.finditer(TEXT)}
    words -= {"order", "under", "corner", "border", "wonder"}  # English
    assert len(words) > 1000
    assert {pool_of(word) for word in words} == {"pretraining"}
    numbers = {match.group() for match in re.finditer(r"(?<![\w:.])[1-9]\d{2,3}(?![\w:])", TEXT)}
    assert len(numbers) > 500
    assert {pool_of(f"number {number}") for number in numbers} == {"pretraining"}


def test_pairs_of_worked_steps_are_of_the_pretraining_pool():
    equation = r"(\d+)([-+*/])(\d+)=(\d+)"
    pairs = 0
    for _, answer in drawn(instructions.steps, 300):
        found = [(int(a), sign, int(b), int(c)) for a, sign, b, c in re.findall(equation, answer)]
        for first, second in pairwise(found):
            assert pair_pool(Step(*first), Step(*second)) == "pretraining"
            pairs += 1
    assert pairs > 100


@pytest.mark.parametrize(
    "form", ["####", "guilty of", '"intent"', '"slots"', "Customer reports", "; agent will", ". Wanted: ", "Article "]
)
def test_no_answer_form_of_a_task_is_shown(form):
    assert form.lower() not in TEXT.lower()


def test_no_word_of_velm_is_explained_in_another_way():
    script = str.maketrans(LETTERS)
    lexicon = {word for words in (NOUNS, ADJECTIVES, VERBS) for word in words.values()}
    lexicon |= {word.translate(script) for word in lexicon}
    for user, _ in drawn(glossaries, 300):
        assert not lexicon & set(re.findall(r"\w+", user))


def test_what_programs_print_is_what_they_print(capsys):
    checked = 0
    for user, answer in drawn(instructions.outputs, 60):
        program = re.sub(r"^(What is printed\?|Run:)\n|\n(What does it print\?|Output:|# prints:)$", "", user)
        exec(compile(ast.parse(program), "program", "exec"), {})
        assert capsys.readouterr().out.rstrip("\n") == answer
        checked += 1
    assert checked == 60


def test_programs_from_words_are_programs():
    for user, answer in drawn(instructions.written, 60):
        backwards = user.startswith(("What does this do?", "Say in words:"))
        ast.parse(user.split("\n", 1)[1] if backwards else answer)


def test_answers_of_lists_stand_in_the_question():
    """An answer is made of what the list shows (or of a count), whatever is asked."""
    for user, answer in drawn(instructions.lists, 100):
        for part in answer.split(", "):
            assert part in user or part.isdigit(), (user, answer)


def test_records_are_filled_from_the_sentence_and_corrections_hold():
    objects = 0
    for user, answer in drawn(instructions.records, 400):
        for slip in re.findall(r"(\w+)(?:, no, |, or rather |, sorry, )(\w+)", user):
            if slip[0].isdigit() and slip[1] in re.findall(r"\w+", answer):
                assert slip[0] not in re.findall(r"\w+", answer)
        if answer.startswith("{") and not answer.startswith(("{{", '{"kind', '{"sort', '{"type', '{"case')):
            for value in json.loads(answer).values():
                assert value in user
                objects += 1
    assert objects > 50
    assert FORMATS["a row"]([("a", "1"), ("b", "2")]) == "1 | 2"


def test_house_rules_cost_what_the_case_says():
    for user, answer in drawn(instructions.house_rules, 80):
        fee = re.findall(r"\d+", answer)
        assert any(number in user for number in fee)
        holds = any(phrase in user for phrase in ("Late at night", "After midnight", "In the dark"))
        if " at night" in user and holds and user.count("at night") == 1:  # one rule alone has that case, and it holds
            high = re.search(r"at night (\d+)", user)
            assert high is None or high[1] in fee
