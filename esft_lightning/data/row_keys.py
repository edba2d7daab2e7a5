"""What becomes of the keys of a row, and of a message, that no form and no mapping reads.

| key | what becomes of it |
|---|---|
| `system`, `system_prompt`, `system_message` | the system turn (`turns`) |
| `history` | turns before the first (`turns`) |
| `weight`, `train`, `loss_mask`, `mask`, … | loss or none, 0 or 1 (`turns`) |
| `BEARS_MEANING`, `MESSAGE_BEARS_MEANING`, choices, images, sounds | refused, unless a turn holds its text |
| `VERDICTS` that say no, `FLAWS` that say yes | refused: the row holds an answer that is not wanted |
| any other key | not used: counted, and said once |

The sets are the checked list of what published data sets hold and a conversation of texts cannot carry. A key counts in
all its spellings: `systemPrompt` and `System-Prompt` are `system_prompt` (`canonical`). A column of
the row's own form is never refused (MATH's `answer` repeats its solution's), nor is one that a column mapping names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from typing import Any

from esft_lightning.data.errors import DataError

BEARS_MEANING = frozenset({
    # Tools that the model may call, and what they said.
    "tools", "tool", "functions", "function", "tool_calls", "tool_call", "function_calls", "function_call",
    "tool_choice", "tool_results", "tool_responses", "tools_used", "available_tools", "apis", "api_list",
    # What the question is about.
    "instruction", "input", "inputs", "question", "query", "problem", "context", "contexts", "document",
    "documents", "passage", "passages", "paragraph", "paragraphs", "article", "background", "evidence", "knowledge",
    "retrieved_documents", "retrieved_context", "retrieved_contexts", "chunks", "search_results", "docs", "file",
    "files", "attachment", "attachments", "ctxs", "prefix", "suffix", "table", "tables", "schema", "hint", "hints",
    "few_shot", "few_shots", "shots", "few_shot_examples", "demonstrations", "demos", "examples", "exemplars",
    "icl_examples", "story", "premise", "hypothesis", "scenario", "fact", "facts", "support",
    # Places in an image.
    "objects",
    # Which tokens are learned.
    "completion_mask", "assistant_mask", "assistant_masks", "label_mask", "loss_masks", "weights", "token_weights",
    # What can be chosen.
    "choices", "options", "answer_choices", "candidates", "endings", "distractors", "mc1_targets", "mc2_targets",
    # Preferences: another answer than the one that is trained (`rejected…` all of them, see below).
    "chosen", "chosen_response", "dispreferred",
    # A conversation, or a part of one, beside the one that is read.
    "system", "system_prompt", "system_message", "system_instruction", "system_instructions", "sys_prompt",
    "history", "chat_history", "conversation_history", "dialog_history", "dialogue_history", "previous_turns",
    "prior_turns", "messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat",
    # Thoughts before the answer.
    "reasoning_content", "reasoning", "thinking", "thought", "thoughts", "cot", "chain_of_thought", "scratchpad",
})  # fmt: skip
"""Row keys, as `canonical` writes them."""

MESSAGE_BEARS_MEANING = frozenset({
    "tool_calls", "tool_call", "tool_call_id", "function_call", "function_calls", "functions", "tools",
    "tool_results", "name", "reasoning_content", "reasoning", "thinking", "thought", "thoughts", "channel",
    "recipient", "refusal", "prefix", "train_detail", "documents", "context", "attachments", "files", "value",
    "text", "parts", "chosen", "rejected",
})  # fmt: skip
"""Message keys, the same."""

VERDICTS = frozenset({
    "kto_tag", "is_correct", "correct", "answer_correct", "is_answer_correct", "is_right", "is_valid", "valid",
    "answer_is_valid", "solution_is_valid", "solution_is_correct", "desirable", "is_desirable", "desired",
    "accepted", "is_accepted", "acceptable", "preferred", "is_preferred", "is_chosen", "is_good", "passed",
    "passes_tests", "is_passed",
})  # fmt: skip
"""Row keys that say, when false, 0 or "no", that the answer is not wanted."""

FLAWS = frozenset({
    "incorrect", "is_incorrect", "wrong", "is_wrong", "is_bad", "invalid", "is_invalid", "is_rejected", "rejected",
    "undesirable", "hallucinated", "is_hallucination",
})  # fmt: skip
"""Row keys that say the same when true, 1 or "yes"."""

CLASS_OR_VERDICT = "label"
"""KTO's verdict when it is false; a number or a text under it is a class: unused."""

_FAMILY = re.compile(r"(?i:choice|option|ending|answer_|op)_?[0-9a-eA-E]|(?:sol|distractor)\d|[A-E]|rejected.*")
_MEDIA = re.compile(r"(?i:image|img|audio|video|sound|pixel_value)s?([_-].*|[A-Z].*)?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO = ("false", "no", "0", "incorrect", "wrong", "bad", "rejected", "invalid", "failed")
_YES = ("true", "yes", "1")
_SHORT = 24


@lru_cache(maxsize=4096)  # the same few keys, in every row
def canonical(key: str) -> str:
    """A key in the spelling of the lists: `systemPrompt`, `System Prompt` and `system-prompt` are `system_prompt`."""
    return re.sub(r"[\s.-]+", "_", _HUMP.sub("_", key.strip()).lower())


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, a blank text, an empty list or object."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | dict | tuple) and not value)


def is_empty(value: Any) -> bool:
    """The same where a text is no answer: hub data sets also write absent tools as `[]` in a text."""
    return is_blank(value) or (isinstance(value, str) and value.strip() in ("[]", "{}", "null", "None"))


@lru_cache(maxsize=4096)
def bears_meaning(key: str) -> bool:
    """Whether a row's key bears meaning that a conversation of texts has no place for."""
    return canonical(key) in BEARS_MEANING or bool(_FAMILY.fullmatch(key) or _MEDIA.fullmatch(key))


@lru_cache(maxsize=4096)
def message_bears_meaning(key: str) -> bool:
    """The same for a message's key."""
    return canonical(key) in MESSAGE_BEARS_MEANING or bool(_MEDIA.fullmatch(key))


def unused_keys(
    record: Mapping[str, Any], used: Set[str], known: Set[str], texts: Iterable[str], origin: str
) -> list[str]:
    """The keys of a row that nothing reads, in their order; empty ones are left out.

    Args:
        record: The row as it was published.
        used: Keys that have been read or knowingly left out.
        known: Keys that are never refused: columns of the row's form.
        texts: What the row became: its messages, or its question and its answers.
        origin: `file:line`, for errors.

    Raises:
        DataError: A key bears meaning and its text is nowhere in `texts`.
    """
    unused: list[str] = []
    whole: str | None = None
    for key, value in record.items():
        if key in used or is_empty(value):
            continue
        unused.append(key)
        if key in known:
            continue
        if _is_unwanted(canonical(key), value):
            raise DataError(
                f"{origin}: key {shown(key)!r} says that this answer is not wanted, and all answers here are; leave "
                f"such rows out (on_bad_row=skip), or the key with a column mapping {{{shown(key)}: null}}"
            )
        if bears_meaning(key) and not isinstance(value, bool | int | float):
            whole = _plain("\n".join(texts)) if whole is None else whole
            if not all(_stands_in(leaf, whole) for leaf in _leaves(value)):
                raise _refused(key, origin, "bears meaning, and nothing of this row's form puts it into a turn")
    return unused


def _is_unwanted(key: str, value: Any) -> bool:
    """Whether a key and its value say that the row's answer is not to be learned."""
    said = str(value).strip().lower() if isinstance(value, bool | int | float | str) else ""
    said = said.removesuffix(".0")
    if key == CLASS_OR_VERDICT or (key == "correct" and not isinstance(value, bool | str)):
        return value is False  # a number is a class, or the right choice
    return (key in VERDICTS and said in _NO) or (key in FLAWS and said in _YES)


def _refused(key: str, origin: str, why: str) -> DataError:
    key = shown(key)
    return DataError(
        f"{origin}: key {key!r} {why}; say in a column mapping where it goes, as in "
        f"{{user: '{{{key}}} …', assistant: …}}, or leave it out with {{{key}: null}}"
    )


def shown(key: str) -> str:
    """A key that can be printed, whatever it holds."""
    return str(key).encode("utf-8", "backslashreplace").decode()


def _leaves(value: Any) -> Iterator[str | None]:
    """The texts in a value, roles aside; None for what is no text (an image, a sound)."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key not in ("role", "from"):
                yield from _leaves(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _leaves(entry)
    elif isinstance(value, str | int | float):
        yield _plain(str(value))
    elif value is not None:
        yield None


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _stands_in(leaf: str | None, whole: str) -> bool:
    if leaf is None or leaf not in whole:
        return False
    # "B" stands in every text; as a word it does not.
    return len(leaf) > _SHORT or re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", whole) is not None
