"""Nothing of a row is lost without a word: its texts stand in its turns, or under a key that is counted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esft_lightning.data.formats import FORMS
from esft_lightning.data.reading import Reading, note, read_rows
from esft_lightning.data.row_keys import BEARS_MEANING, MESSAGE_BEARS_MEANING, VERDICTS
from esft_lightning.data.rows import ChatRow, DataError, check_messages, read_jsonl
from esft_lightning.data.samples import check_sample
from esft_lightning.tasks.code import CodeDataModule

WORDS = st.text("aé判\u2028\u0085 \n{}<", max_size=6) | st.sampled_from(["Madrid", "human", "gpt", "user", "\ud83d"])
NUMBERS = st.sampled_from([0, 1, 0.0, 1.0, 0.5, -3, 10**30, math.nan, math.inf])
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
LOSS = ["weight", "train", "loss_mask", "mask", "masked"]
ROW_KEYS = sorted({column for form in FORMS for column in form.columns} | BEARS_MEANING | VERDICTS | {"id", *LOSS})
TURN_KEYS = [*sorted(MESSAGE_BEARS_MEANING), "id", *LOSS]
ROLES = st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool"])
TURN = st.builds(
    lambda names, role, text, more: {names[0]: role, names[1]: text, **more},
    st.sampled_from([("role", "content"), ("from", "value")]),
    ROLES,
    SCALARS,
    st.dictionaries(st.sampled_from(TURN_KEYS), SCALARS, max_size=1),
)
TURNS = st.lists(TURN, max_size=4) | VALUES
PAIR = st.sampled_from([("user", "assistant"), ("human", "gpt")]).flatmap(
    lambda roles: st.tuples(WORDS, WORDS).map(
        lambda texts: [{"from": role, "value": text} for role, text in zip(roles, texts, strict=True)]
    )
)
RECORDS = st.builds(
    lambda form, texts, more, turns: {
        **dict(zip(sorted(form.columns), texts, strict=False)), **more, **({} if turns is None else turns),
    },
    st.sampled_from(FORMS),
    st.lists(WORDS | SCALARS, min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(ROW_KEYS) | WORDS, VALUES, max_size=3),
    st.none()
    | st.fixed_dictionaries({}, optional={"messages": TURNS | PAIR, "conversations": PAIR, "history": VALUES}),
)  # fmt: skip


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in ("role", "from"):
                yield from leaves(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from leaves(entry)
    elif isinstance(value, str) and value.strip():
        yield " ".join(value.split()).casefold()


def accounted_for(record: dict[str, Any], texts: list[str], unused: set[str]) -> bool:
    """Whether every text of the record stands in a turn or under a key that is counted."""
    whole = " ".join("\n".join(texts).split()).casefold()
    for key, value in record.items():
        if key in unused:
            continue
        inside = [
            {name: entry for name, entry in turn.items() if f"messages.{name}" not in unused}
            if isinstance(turn, dict)
            else turn
            for turn in (value if isinstance(value, list) else [value])
        ]
        if not all(leaf in whole for leaf in leaves(inside) if leaf not in ("[]", "{}")):
            return False
    return True


@settings(max_examples=200, deadline=None)
@given(RECORDS)
def test_a_training_row_is_kept_whole_or_refused_or_counted(record: dict[str, Any]) -> None:
    reading = read_rows([("f.jsonl:1", record)], check_messages, "skip")
    for row in reading.rows:
        assert isinstance(row, ChatRow) and all(set(message) <= {"role", "content", "mask"} for message in row.messages)
        assert accounted_for(record, [message["content"] for message in row.messages], set(reading.unused))
    assert len(reading.rows) + len(reading.skipped) == 1
    assert all(message.startswith("f.jsonl:1: ") for message in reading.skipped)


@settings(max_examples=200, deadline=None)
@given(RECORDS, st.booleans())
def test_an_evaluation_row_is_kept_whole_or_refused_or_counted(record: dict[str, Any], asked: bool) -> None:
    record |= {"prompt": "q", "raw_answers": ["a"]} if asked else {}
    reading = read_rows([("f.jsonl:1", record)], check_sample, "skip", None, "test")
    for sample in reading.rows:
        assert accounted_for(record, [sample["prompt"], *sample["raw_answers"]], set(reading.unused))
        json.dumps(sample, ensure_ascii=False).encode()
    assert len(reading.rows) + len(reading.skipped) == 1


@pytest.mark.parametrize(
    ("record", "column"),
    [
        ({"text": "Add.", "code": None, "test_list": ["assert f(1) == 2"]}, "code"),
        ({"prompt": "def f(a):", "test": None, "entry_point": "f", "canonical_solution": "    return a"}, "test"),
        ({"prompt": "def f(a):", "test": "def check(c): pass", "entry_point": None}, "entry_point"),
        ({"prompt": None, "test": "def check(c): pass", "entry_point": "f"}, "prompt"),
        (
            {"prompt": "def f(a):", "test": "def check(c): pass", "entry_point": "f", "canonical_solution": None},
            "canonical_solution",
        ),
    ],
)
def test_a_code_row_with_a_null_is_refused_by_its_column(record: dict[str, Any], column: str) -> None:
    module = CodeDataModule(cache_dir=None)
    with pytest.raises(DataError, match=f"f:1.*column '{column}' is null"):
        read_rows([("f:1", record)], module._check_sample, "error", None, "test", module.sample_keys)


@settings(max_examples=60, deadline=None)
@given(
    RECORDS, st.dictionaries(st.sampled_from(["tests", "test", "entry_point", "canonical_solution", "code"]), VALUES)
)
def test_a_code_row_is_kept_or_refused(record: dict[str, Any], more: dict[str, Any]) -> None:
    module = CodeDataModule(cache_dir=None)
    assert module.wants({**record, **more})
    reading = read_rows([("f:1", {**record, **more})], module._check_sample, "skip", None, "test", module.sample_keys)
    for sample in reading.rows:
        assert all(isinstance(answer, str) for answer in sample["raw_answers"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=12) | RECORDS.map(lambda row: json.dumps(row).encode()), min_size=1, max_size=4))
def test_any_file_is_read_or_refused_line_by_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        reading = read_rows(read_jsonl(path), check_messages, "skip")
    except DataError as error:
        assert "the file is empty" in str(error)
    else:
        filled = sum(bool(line.strip()) for line in path.read_bytes().split(b"\n"))
        assert len(reading.rows) + len(reading.skipped) <= filled


def test_what_is_nested_too_deeply_is_a_bad_row() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    row = {"question": "q", "answer": "a", "tools": deep}
    with pytest.raises(DataError, match=r"^f:1: .*too deeply"):
        read_rows([("f:1", row)], check_messages, "error")
    assert len(read_rows([("f:1", row)], check_messages, "skip").skipped) == 1


def test_rows_that_are_read_twice_count_once(caplog: pytest.LogCaptureFixture) -> None:
    report: dict[str, Any] = {"task": "law"}
    reading: Reading[Any] = Reading([1], ["f:3: bad"])
    reading.unused.update({"id": 1_200, "source": 7})
    with caplog.at_level("INFO", "esft_lightning"):
        for what in ("train", "train", "val"):
            note(reading, report, what, aloud=True)
        note(reading, report, "test", aloud=False)
    assert report["skipped_rows"] == 3 and report["skipped_examples"] == ["f:3: bad"] * 3
    assert report["unused_keys"]["train"] == {"id": 1_200, "source": 7}
    assert caplog.text.count("keys of the train rows that nothing reads (in so many rows): id (1,200), source (7)") == 1
    assert "keys of the test rows" not in caplog.text
