"""The checked list: keys that bear meaning are refused, repeated ones are known, all others are counted."""

from __future__ import annotations

from typing import Any

import pytest

from esft_lightning.data.reading import read_rows
from esft_lightning.data.row_keys import (
    BEARS_MEANING,
    CLASS_OR_VERDICT,
    FLAWS,
    MESSAGE_BEARS_MEANING,
    VERDICTS,
    bears_meaning,
    canonical,
)
from esft_lightning.data.rows import DataError, check_messages
from esft_lightning.data.samples import check_sample
from esft_lightning.data.turns import HISTORY_KEY, SYSTEM_KEYS

GSM = {"question": "Capital of Spain?", "answer": "Madrid"}
CHAT = {"messages": [{"role": "user", "content": "Capital of Spain?"}, {"role": "assistant", "content": "Madrid"}]}
ASKED = {"prompt": "Capital of Spain?", "raw_answers": ["Madrid"]}
FAMILIES = [
    "A", "D", "choice0", "choice_a", "distractor2", "option_b", "ending3", "opa", "sol1", "answer_c", "image", "images",
    "image_url", "imagePath", "audio", "audios", "video_id", "img", "rejected_messages", "rejected_images", "Context",
    "TOOLS",
]  # fmt: skip


def train(record: dict[str, Any]) -> Any:
    return read_rows([("f.jsonl:3", record)], check_messages, "error")


def ask(record: dict[str, Any]) -> Any:
    return read_rows([("f.jsonl:3", record)], check_sample, "error", None, "test")


@pytest.mark.parametrize("key", sorted(BEARS_MEANING | set(FAMILIES)))
def test_a_key_that_bears_meaning_is_refused_by_file_line_and_key(key: str) -> None:
    carried = {HISTORY_KEY, *SYSTEM_KEYS}
    refused = rf"^f\.jsonl:3: key '{key}' bears meaning.*leave it out with {{{key}: null}}"
    for value in ("The tower.", ["The tower.", "Another."], {"text": "The tower."}, [{"type": "function"}]):
        for row in (GSM, CHAT):
            if key in row or key in carried or key in ("messages", "conversations", "conversation", "query"):
                continue  # another form, or carried over
            with pytest.raises(DataError, match=refused):
                train({**row, key: value})
        if key not in ("messages", "conversations", "conversation"):
            with pytest.raises(DataError, match=refused):
                ask({**ASKED, key: value})


@pytest.mark.parametrize("key", sorted(BEARS_MEANING | set(FAMILIES)))
@pytest.mark.parametrize("value", [None, "", "  ", [], {}, "[]"])
def test_an_empty_key_says_nothing(key: str, value: Any) -> None:
    if key not in GSM and (value != "[]" or key not in ("messages", "conversations", "conversation", "query")):
        assert not train({**GSM, key: value}).unused
    assert not ask({**ASKED, key: value}).unused


@pytest.mark.parametrize("key", sorted(MESSAGE_BEARS_MEANING | {"images", "audio"}))
def test_a_messages_key_that_bears_meaning_is_refused(key: str) -> None:
    turns = [CHAT["messages"][0], {**CHAT["messages"][1], key: "x"}]
    for read in (train, ask):
        with pytest.raises(DataError, match=rf"^f\.jsonl:3: messages\[1\]: key '{key}' bears meaning"):
            read({"messages": turns})
    for quiet in (None, [], ""):
        assert not train({"messages": [turns[0], {**turns[1], key: quiet}]}).unused
    assert train({"messages": [turns[0], {**turns[1], key: False}]}).unused == {f"messages.{key}": 1}


@pytest.mark.parametrize("key", sorted(VERDICTS | FLAWS | {CLASS_OR_VERDICT, "isCorrect", "Solution is valid"}))
def test_an_answer_that_is_not_wanted_is_not_learned(key: str) -> None:
    no, yes = ((False, 0, 0.0, "no", "False"), (True, 1, "Yes", "true"))
    if canonical(key) in FLAWS:
        no, yes = yes, no
    if key == CLASS_OR_VERDICT:
        no, yes = (False,), (True, 0, "no")  # a number or a text is a class
    if key == "correct":
        no, yes = (False, "no"), (True, 0, "yes")  # a number is the right choice
    for value in no:
        with pytest.raises(DataError, match=rf"key '{key}' says that this answer is not wanted.*on_bad_row=skip"):
            train({**GSM, key: value})
    for value in (*yes, 3, "sports"):
        if key == "rejected" and isinstance(value, str):
            continue  # the text of a rejected answer
        assert train({**GSM, key: value}).unused == {key: 1}


@pytest.mark.parametrize("key", ["systemPrompt", "System", "system-message", "SYSTEM_PROMPT", "system prompt"])
def test_a_key_counts_in_all_its_spellings(key: str) -> None:
    assert train({**GSM, key: "One word."}).rows[0].messages[0] == {"role": "system", "content": "One word."}
    for other in ("toolCalls", "Tool-Calls", "retrievedContext", "chain of thought"):
        with pytest.raises(DataError, match=f"key '{other}' bears meaning"):
            train({**GSM, other: ["look it up"]})


@pytest.mark.parametrize("key", ["Train", "computeLoss", "is-trainable"])
def test_a_loss_mark_counts_in_all_its_spellings(key: str) -> None:
    turns = [CHAT["messages"][0], {**CHAT["messages"][1], key: False}]
    assert train({"messages": turns}).rows[0].messages[1]["mask"] == 1
    assert train({**CHAT, key: 0}).rows[0].messages[1]["mask"] == 1


def test_a_channel_or_recipient_that_goes_without_saying_is_no_loss() -> None:
    turns = [CHAT["messages"][0], {**CHAT["messages"][1], "channel": "final", "recipient": "all"}]
    assert set(train({"messages": turns}).unused) == {"messages.channel", "messages.recipient"}


def test_a_key_whose_text_a_turn_holds_is_no_loss() -> None:
    choices = {"question": "Capital of Spain?\nA) Paris\nB) Madrid", "answer": "B", "choices": ["Paris", "Madrid"]}
    assert train(choices).unused == {"choices": 1}
    asked = {"prompt": choices["question"], "raw_answers": ["B"], "choices": {"text": ["Paris", "Madrid"]}}
    assert ask(asked).unused == {"choices": 1}
    assert train({**CHAT, "chosen": CHAT["messages"], "problem": "capital  of SPAIN?"}).unused["chosen"] == 1
    with pytest.raises(DataError, match="key 'choices'"):
        train({**choices, "choices": ["Paris", "Rome"]})
    with pytest.raises(DataError, match="key 'choices'"):
        train({**GSM, "choices": ["a", "p"]})  # letters of the question, not words of it


def test_all_other_keys_are_counted_row_by_row() -> None:
    rows = [{**GSM, "id": n, "source": "x", **({"note": "n"} if n else {})} for n in range(3)]
    reading = read_rows([(f"f:{n}", row) for n, row in enumerate(rows)], check_messages, "error")
    assert reading.unused == {"id": 3, "source": 3, "note": 2}
    turns = [{**message, "id": 1, "ts": 0} for message in CHAT["messages"]]
    assert train({"messages": turns, "lang": "en"}).unused == {"messages.id": 1, "messages.ts": 1, "lang": 1}
    assert ask({**ASKED, "idx": 0, "answers": ["Madrid"], "task_id": 4}).unused == {"idx": 1, "answers": 1}
    skipped = read_rows([("f:1", {**GSM, "id": 1, "tools": ["x"]}), ("f:2", GSM)], check_messages, "skip")
    assert skipped.unused == {} and len(skipped.skipped) == 1 and "key 'tools'" in skipped.skipped[0]


def test_a_mapping_uses_a_column_or_leaves_it_out() -> None:
    def mapped(record: dict[str, Any], mapping: dict[str, str | None]) -> Any:
        return read_rows([("f:1", record)], check_messages, "error", mapping)

    record = {**GSM, "context": "Spain is a country.", "n": 1}
    reading = mapped(record, {"user": "{context}\n{question}", "assistant": "answer"})
    assert reading.rows[0].messages[0]["content"] == "Spain is a country.\nCapital of Spain?"
    assert reading.unused == {"n": 1}
    assert mapped(record, {"context": None}).unused == {"n": 1}
    with pytest.raises(DataError, match="key 'context' bears meaning"):
        mapped(record, {"user": "question", "assistant": "answer"})
    with pytest.raises(DataError, match="key 'question' bears meaning"):
        mapped(record, {"user": "context", "assistant": "answer"})
    idle = {"user": "{context} {question}", "assistant": "answer", "tools": "calls"}
    with pytest.raises(DataError, match="key 'tools' bears meaning"):
        mapped({**record, "calls": ["weather"]}, idle)


def test_no_form_of_ours_is_refused_for_its_own_columns() -> None:
    assert not bears_meaning("answer") and not bears_meaning("solution") and not bears_meaning("prompt")
    assert not bears_meaning("imagery") and not bears_meaning("idx") and not bears_meaning("optional")
