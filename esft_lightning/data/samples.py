r"""Evaluation samples: what `test` generates from and is scored against. Knows their shape and nothing of scoring.

A sample as the authors' files have it; further keys stay with it, for the task's scorer::

    {"prompt": "User: …\n\nAssistant:", "raw_answers": ["…"]}
"""

import json
from collections.abc import Mapping
from typing import Any

from esft_lightning.data.chat import ChatFormat, prompt_for
from esft_lightning.data.few_shot import fit_prompts
from esft_lightning.data.row_keys import shown
from esft_lightning.data.rows import DataError, check_messages, check_text

EXPECTED = '{"prompt": "User: …\\n\\nAssistant:", "raw_answers": ["…"]}'


def check_sample(record: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Validate one evaluation record; one of `messages` becomes the prompt of its last answer.

    Returns:
        The record with `prompt` in the `esft` form, `raw_answers` a list of strings, and its other keys.

    Raises:
        DataError: Neither form is there, or a field is empty or of the wrong kind.
    """
    sample = dict(record)
    if "raw_answers" not in sample and sample.get("messages") is not None:
        messages = check_messages(sample, origin).messages
        if len(messages) != 2 or messages[1].get("mask"):
            raise DataError(
                f"{origin}: an evaluation row of 'messages' is one question and one right answer; give {EXPECTED}"
            )
        sample |= {"prompt": messages[0]["content"], "raw_answers": [messages[1]["content"]]}
    for key in ("prompt", "raw_answers"):
        if key not in sample:
            raise DataError(f"{origin}: {key!r} is missing; expected {EXPECTED}, or set test_column_mapping")
    check_text(sample["prompt"], f"{origin}: 'prompt'")
    answers = sample["raw_answers"]
    answers = [answers] if isinstance(answers, str) else answers
    if not isinstance(answers, list) or not answers:
        raise DataError(f"{origin}: 'raw_answers' is not a list of answers; expected {EXPECTED}")
    for number, answer in enumerate(answers):
        check_text(answer, f"{origin}: raw_answers[{number}]")
    for key, value in sample.items():
        _check_writable(key, value, origin)
    return sample | {"prompt": prompt_for(sample["prompt"], None, "esft"), "raw_answers": answers}


def _check_writable(key: str, value: Any, origin: str) -> None:
    """Refuse what no completion could hold: answers are written with the whole row, long after it was read."""
    try:
        json.dumps({key: value}, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{origin}: key {shown(key)!r} cannot be written as JSON ({shown(str(error))}); write it as text, or leave "
            f"it out with test_column_mapping {{{shown(key)}: null}}"
        ) from None


def prepare_samples(
    samples: list[dict[str, Any]], tokenizer: Any, chat_format: ChatFormat, max_prompt_tokens: int | None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Fit prompts to the context and put them into the chat format.

    Args:
        samples: What `check_sample` gives.
        tokenizer: Counts tokens and renders templates.
        chat_format: `esft` leaves the prompt as it stands.
        max_prompt_tokens: Most tokens of a prompt, BOS included; None: no limit.

    Returns:
        The samples, and counts: `shortened_prompts`, `dropped_examples`, `cut_questions`.
    """
    counts = {"shortened_prompts": 0, "dropped_examples": 0, "cut_questions": 0}
    prompts = [sample["prompt"] for sample in samples]
    if max_prompt_tokens is not None:
        fitted = fit_prompts(prompts, tokenizer, max_prompt_tokens)
        counts["shortened_prompts"] = sum(f.dropped_examples > 0 or f.cut_question for f in fitted)
        counts["dropped_examples"] = sum(f.dropped_examples for f in fitted)
        counts["cut_questions"] = sum(f.cut_question for f in fitted)
        prompts = [f.prompt for f in fitted]
    if chat_format == "template":
        prompts = [prompt_for(prompt, tokenizer, chat_format) for prompt in prompts]
    return [sample | {"prompt": prompt} for sample, prompt in zip(samples, prompts, strict=True)], counts
