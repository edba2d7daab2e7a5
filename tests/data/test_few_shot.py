"""Prompts that exceed the context lose few-shot examples first, from the front, and no more than needed."""

import json

import pytest

from esft_lightning.data.few_shot import FittedPrompt, fit_prompt, split_examples
from esft_lightning.data.rows import DataError

QUESTION = "Translate: gamma\nTranslation:"


def few_shot(*examples: str, question: str = QUESTION) -> str:
    return "User: " + "\n\n".join([*examples, question]) + "\n\nAssistant:"


def tokens(prompt: str, tokenizer) -> int:
    return 1 + len(tokenizer.encode(prompt, add_special_tokens=False))


def fit(prompt: str, tokenizer, limit: int) -> FittedPrompt:
    return fit_prompt(prompt, lambda text: tokens(text, tokenizer), limit)


EXAMPLES = [f"Translate: {word}\nTranslation: {word} {word}" for word in ("alpha", "beta", "delta", "epsilon")]


def test_as_few_examples_as_needed_go_from_the_front(tokenizer):
    for keep in range(len(EXAMPLES) + 1):
        wanted = few_shot(*EXAMPLES[len(EXAMPLES) - keep :])
        limit = tokens(wanted, tokenizer)
        fitted = fit(few_shot(*EXAMPLES), tokenizer, limit)
        assert fitted == (wanted, len(EXAMPLES) - keep, False)


def test_a_prompt_that_fits_is_untouched(tokenizer):
    odd = "no head or tail at all\n\n\n"
    assert fit(odd, tokenizer, 10_000) == (odd, 0, False)


def test_a_question_too_long_alone_keeps_its_tail(tokenizer):
    question = "Translate: " + "word " * 200 + "end\nTranslation:"
    fitted = fit(few_shot(*EXAMPLES, question=question), tokenizer, 60)
    assert fitted.cut_question and fitted.dropped_examples == len(EXAMPLES)
    assert 50 <= tokens(fitted.prompt, tokenizer) <= 60
    assert fitted.prompt.startswith("User: ") and fitted.prompt.endswith("end\nTranslation:\n\nAssistant:")
    with pytest.raises(DataError, match="4 tokens are left for an evaluation prompt, too few for any question"):
        fit(few_shot(), tokenizer, 4)


def test_blank_lines_inside_an_example_and_inside_a_question():
    long = "Translate: two\n\nparagraphs\nTranslation: x"
    assert split_examples(few_shot(long, EXAMPLES[0])) == [long, EXAMPLES[0], QUESTION]
    facts = "User: The facts.\n\nMore facts.\n\nWhat is the ruling?\n\nAssistant:"
    assert split_examples(facts) == ["The facts.\n\nMore facts.\n\nWhat is the ruling?"]


@pytest.mark.parametrize(
    ("task", "shots"), [("intent", {16}), ("law", {4}), ("summary", {1}), ("translation", {14, 15, 16})]
)
def test_the_authors_prompts_split_into_the_examples_they_hold(reference_data, task, shots):
    path = reference_data / "esft" / "eval" / f"{task}.jsonl"
    prompts = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert {len(split_examples(prompt)) - 1 for prompt in prompts} == shots
    assert all("User: " + "\n\n".join(split_examples(p)) + "\n\nAssistant:" == p for p in prompts)
