"""Conventions of conversations: what is carried over, and how, in the tokens that are learned."""

from __future__ import annotations

from typing import Any

import pytest

from esft_lightning.data.chat import segments
from esft_lightning.data.reading import read_rows
from esft_lightning.data.rows import ChatRow, DataError, check_messages
from esft_lightning.data.samples import check_sample

Q = {"role": "user", "content": "Hi"}
A = {"role": "assistant", "content": "WRONG"}
BEFORE = ["One?", "1", "Two?", "2"]
MORE = [{"role": "user", "content": "Again"}, {"role": "assistant", "content": "right"}]


def read(record: dict[str, Any]) -> ChatRow:
    return read_rows([("f.jsonl:3", record)], check_messages, "error").rows[0]


def refusal(record: dict[str, Any]) -> str:
    with pytest.raises(DataError) as error:
        read(record)
    assert str(error.value).startswith("f.jsonl:3: ")
    return str(error.value)


def learned(row: ChatRow, tokenizer: Any) -> list[str]:
    return [segment.text.strip() for segment in segments(row, tokenizer, "esft") if segment.loss]


@pytest.mark.parametrize(
    "mark",
    [
        {"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss_mask": 0}, {"loss": False},
        {"trainable": 0}, {"loss_scale": 0}, {"compute_loss": False}, {"mask_loss": True},
        {"mask": 1}, {"mask": True}, {"masked": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_turn_without_weight_is_not_learned(mark: dict[str, Any], tokenizer: Any) -> None:
    (key, value), *_ = mark.items()
    assert learned(read({"messages": [Q, {**A, key: value}, *MORE]}), tokenizer) == ["right"]
    opposite = {key: type(value)(1 - value)}
    assert learned(read({"messages": [Q, {**A, **opposite}, *MORE]}), tokenizer) == ["WRONG", "right"]
    assert learned(read({"messages": [Q, {**A, key: None}, *MORE]}), tokenizer) == ["WRONG", "right"]
    assert learned(read({"messages": [Q, A, *MORE], key: value}), tokenizer) == [], "of the whole row"
    assert learned(read({"question": "q", "answer": "a", key: value}), tokenizer) == [], "in any form"
    conversation = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "WRONG", key: value}]
    assert learned(read({"conversations": conversation}), tokenizer) == []


@pytest.mark.parametrize("value", [0.5, 2, -1, "0", "false", [0, 1], {"a": 1}])
@pytest.mark.parametrize("key", ["weight", "loss_mask", "train", "mask"])
def test_there_is_no_loss_of_a_part(key: str, value: Any) -> None:
    assert f"messages[1]: {key!r} is {value!r}; expected 0 or 1" in refusal({"messages": [Q, {**A, key: value}]})
    assert f"{key!r} is {value!r}; expected 0 or 1" in refusal({"question": "q", "answer": "a", key: value})


def test_marks_that_contradict_one_another_or_ask_for_a_question_are_refused(tokenizer: Any) -> None:
    assert "'weight' and 'mask' contradict" in refusal({"messages": [Q, {**A, "weight": 1, "mask": 1}]})
    assert "'train' and 'weight' contradict" in refusal({"messages": [Q, A], "weight": 1, "train": False})
    assert "messages[0]: 'train' asks for loss on a turn that is not the assistant's" in refusal(
        {"messages": [{**Q, "train": True}, A]}
    )
    quiet = {"messages": [{**Q, "weight": 0.0, "mask": 0}, {**A, "weight": 1, "mask": 0}]}
    assert learned(read(quiet), tokenizer) == ["WRONG"]


@pytest.mark.parametrize("key", ["system", "system_prompt", "system_message"])
def test_a_rows_system_message_is_its_first_turn(key: str) -> None:
    said = [("system", "Be kind."), ("user", "Hi"), ("assistant", "WRONG")]
    with_system = {"role": "system", "content": " Be kind."}
    for record in (
        {"messages": [Q, A], key: "Be kind."},
        {"messages": [with_system, Q, A], key: "Be kind."},
        {"instruction": "Hi", "output": "WRONG", key: "Be kind."},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "WRONG"}], key: "Be kind."},
    ):
        row = read(record)
        assert [(message["role"], message["content"].strip()) for message in row.messages] == said
    assert read({"messages": [Q, A], key: ""}).messages == [Q, A]
    assert "differs from the system message" in refusal({"messages": [with_system, Q, A], key: "Be rude."})
    assert "expected the text of a system message" in refusal({"messages": [Q, A], key: ["Be", "kind"]})


@pytest.mark.parametrize(
    "history",
    [
        [["One?", "1"], ["Two?", "2"]],
        [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, BEFORE, strict=True)],
        [{"from": who, "value": text} for who, text in zip(["human", "gpt"] * 2, BEFORE, strict=True)],
    ],
    ids=["pairs", "messages", "ShareGPT"],
)  # fmt: skip
def test_history_stands_before_a_rows_own_turns_and_is_learned(history: list[Any], tokenizer: Any) -> None:
    row = read({"instruction": "Three?", "input": "", "output": "3", "system": "Count.", "history": history})
    texts = [message["content"] for message in row.messages]
    assert texts == ["Count.", "One?", "1", "Two?", "2", "Three?", "3"]
    assert learned(row, tokenizer) == ["1", "2", "3"]
    again = read({"messages": row.messages, "history": history})
    assert again.messages == row.messages, "turns that hold their history already"
    assert len(read({"instruction": "Three?", "output": "3", "history": []}).messages) == 2


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("One? 1", "'history' is no list of [question, answer] pairs"),
        ([["One?", "1", "?"]], "'history' is no list of [question, answer] pairs"),
        ([["One?", None]], "messages[1]: 'content' is NoneType"),
        ([["One?"]], "'history' is no list"),
        ([{"role": "user", "content": "One?"}], "messages[1]: role 'user' where 'assistant' was expected"),
        ([{"role": "user", "content": "One?", "id": 3}], "'history' holds messages with 'messages.id'"),
        ([{"role": "user", "content": "One?", "tool_calls": [1]}], "key 'tool_calls' bears meaning"),
    ],
)
def test_history_of_another_shape_is_refused(history: Any, message: str) -> None:
    assert message in refusal({"instruction": "Three?", "output": "3", "history": history})


def test_a_mapping_may_name_what_is_carried_over_or_leave_it_out() -> None:
    record = {"q": "Hi", "a": "right", "before": [["One?", "1"]], "importance": 0, "system": "linux"}
    mapping = {"user": "q", "assistant": "a", "history": "before", "weight": "importance", "system": None}
    reading = read_rows([("f:1", record)], check_messages, "error", mapping)
    texts = [(message["content"], message.get("mask")) for message in reading.rows[0].messages]
    assert texts == [("One?", None), ("1", 1), ("Hi", None), ("right", 1)] and not reading.unused


def test_an_answer_without_weight_is_no_reference() -> None:
    for mark in ({"weight": 0}, {"mask": 1}):
        with pytest.raises(DataError, match="one question and one right answer"):
            read_rows([("f:1", {"messages": [Q, {**A, **mark}]})], check_sample, "error", None, "test")
