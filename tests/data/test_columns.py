"""Column mappings: columns become fields, and nothing becomes a text in Python's spelling."""

from __future__ import annotations

import math
from typing import Any

import pytest

from esft_lightning.data.columns import columns_read, map_columns
from esft_lightning.data.rows import DataError
from esft_lightning.errors import SettingError


def test_columns_are_renamed_nested_and_put_into_texts() -> None:
    record = {"pair": {"chr": "ᎠᎬᏱ {x}", "en": "first"}, "id": 4}
    mapped = map_columns(record, {"user": "Translate: {pair.chr} ({id})", "assistant": "pair.en", "n": "id"}, "here:1")
    assert mapped["messages"] == [
        {"role": "user", "content": "Translate: ᎠᎬᏱ {x} (4)"},
        {"role": "assistant", "content": "first"},
    ]
    assert mapped["n"] == 4 and mapped["pair"] == record["pair"]
    with pytest.raises(
        DataError, match=r"here:1: column 'pair\.fr' is missing; the row has pair, id: set column_mapping"
    ):
        map_columns(record, {"user": "pair.fr"}, "here:1")


NO_TEXTS = {
    "null": None, "nan": math.nan, "inf": math.inf, "True": True, "a list": ["x", "y"], "a dict": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize("shown", NO_TEXTS)
@pytest.mark.parametrize(
    "mapping",
    [
        {"user": "Say {x}.", "assistant": "y"},
        {"user": "y", "assistant": "x"},
        {"user": "y", "assistant": "y", "system": "x"},
        {"user": "Say {deep.x}.", "assistant": "y"},
        {"prompt": "x", "raw_answers": "y"},
        {"prompt": "y", "raw_answers": "{x}"},
        {"prompt": "y", "raw_answers": "several"},
        {"note": "see {x}"},
    ],
)
def test_what_is_no_text_is_refused_by_file_line_and_column(shown: str, mapping: dict[str, str | None]) -> None:
    value = NO_TEXTS[shown]
    record = {"x": value, "y": "why", "deep": {"x": value}, "several": ["good", value]}
    with pytest.raises(DataError, match=rf"^f\.jsonl:7: column '(x|deep\.x|several)' is {shown} where a text"):
        map_columns(record, mapping, "f.jsonl:7")


def test_numbers_become_text_as_json_writes_them_and_lists_stay_lists_of_references() -> None:
    record: dict[str, Any] = {"q": "2 + 2?", "n": 4, "half": 0.5, "all": ["4", 4]}
    mapped = map_columns(record, {"user": "{q} ({half})", "assistant": "n"}, "f:1")
    assert [message["content"] for message in mapped["messages"]] == ["2 + 2? (0.5)", "4"]
    asked = map_columns(record, {"prompt": "q", "raw_answers": "all"}, "f:1")
    assert (asked["prompt"], asked["raw_answers"]) == ("2 + 2?", ["4", "4"])
    assert map_columns(record, {"raw_answers": "n"}, "f:1")["raw_answers"] == ["4"]


def test_a_column_can_be_left_out_knowingly() -> None:
    record = {"messages": [], "tools": ["w"], "pair": {"en": "a", "fr": "b"}, "a.b": 1}
    assert "tools" not in map_columns(record, {"tools": None}, "f:1")
    mapping = {"tools": None, "user": "{pair.en} {a.b}", "assistant": "pair.fr", "absent": None}
    assert columns_read(record, mapping) == {"tools", "pair", "a.b", "absent"}
    assert columns_read(record, None) == set()


@pytest.mark.parametrize("written", ["{text", "Say {}.", "text}", "{text} and {other", "Say {text."])
def test_a_text_whose_braces_name_no_column_is_refused(written: str) -> None:
    if "{" not in written:
        with pytest.raises(DataError, match="column 'text}' is missing"):
            map_columns({"text": "x"}, {"user": written, "assistant": "text"}, "here:1")
        return
    with pytest.raises(
        SettingError, match=r"column_mapping user: .* names no column between braces, or leaves a brace"
    ):
        map_columns({"text": "x", "other": "y"}, {"user": written, "assistant": "text"}, "here:1")
