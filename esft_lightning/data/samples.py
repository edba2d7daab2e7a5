r"""Evaluation samples: what `test` generates from and is scored against. Knows their shape and nothing of scoring.

A sample as the authors' files have it; further keys stay with it, for the task's scorer::

    {"prompt": "User: …\n\nAssistant:", "raw_answers": ["…"]}
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from esft_lightning.data.chat import ChatFormat, prompt_for, question_of
from esft_lightning.data.few_shot import fit_prompt
from esft_lightning.data.row_keys import shown
from esft_lightning.data.rows import ChatRow, DataError, check_messages, check_text
from esft_lightning.data.tokenization import encode_prompts

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


class PreparedSamples(NamedTuple):
    """Samples as they are asked.

    Attributes:
        samples: With `prompt` in the chat format, without BOS, for people and logs.
        prompt_ids: What the model is asked: the ids with which a training row of the same question begins.
        counts: `shortened_prompts`, `dropped_examples`, `cut_questions`.
    """

    samples: list[dict[str, Any]]
    prompt_ids: list[list[int]]
    counts: dict[str, int]


def prepare_samples(
    samples: list[dict[str, Any]], tokenizer: Any, chat_format: ChatFormat, max_prompt_tokens: int | None
) -> PreparedSamples:
    """Fit prompts to the context and put them into the chat format.

    Args:
        samples: What `check_sample` gives.
        tokenizer: Makes tokens and renders templates.
        chat_format: `esft` leaves the prompt's text as it stands.
        max_prompt_tokens: Most tokens of a prompt, all that the chat format adds included; None: no limit.

    Raises:
        DataError: The chat template cannot render a question, or no question fits.
    """

    def ids_of(prompts: list[str]) -> list[list[int]]:
        rows = [
            ChatRow([{"role": "user", "content": question_of(prompt)}], f"evaluation question {number}")
            for number, prompt in enumerate(prompts, 1)
        ]
        return encode_prompts(rows, tokenizer, chat_format)

    prompts = [sample["prompt"] for sample in samples]
    ids = ids_of(prompts)
    counts = {"shortened_prompts": 0, "dropped_examples": 0, "cut_questions": 0}
    for number, prompt in enumerate(prompts):
        if max_prompt_tokens is None or len(ids[number]) <= max_prompt_tokens:
            continue
        fitted = fit_prompt(prompt, lambda text: len(ids_of([text])[0]), max_prompt_tokens)
        prompts[number], (ids[number],) = fitted.prompt, ids_of([fitted.prompt])
        counts["shortened_prompts"] += 1
        counts["dropped_examples"] += fitted.dropped_examples
        counts["cut_questions"] += fitted.cut_question
    if chat_format == "template":
        prompts = [prompt_for(prompt, tokenizer, chat_format) for prompt in prompts]
    asked = [sample | {"prompt": prompt} for sample, prompt in zip(samples, prompts, strict=True)]
    return PreparedSamples(asked, ids, counts)


def prompt_limit(max_prompt_tokens: int | None, positions: int | None, max_new_tokens: int | None) -> int | None:
    """The longest evaluation prompt, in tokens: what is asked for, else the model's positions minus the answer's.

    Args:
        max_prompt_tokens: What is asked for.
        positions: How many the model has; None: no limit is known.
        max_new_tokens: The longest answer; None, as where no module generates: 512, or a quarter of the positions.

    Raises:
        DataError: An answer leaves no room for a prompt.
    """
    if max_prompt_tokens is not None or positions is None:
        return max_prompt_tokens
    limit = positions - (min(512, positions // 4) if max_new_tokens is None else max_new_tokens)
    if limit < 1:
        raise DataError(
            f"max_new_tokens={max_new_tokens} leaves no room for a prompt in the model's {positions} positions; "
            "lower it"
        )
    return limit
