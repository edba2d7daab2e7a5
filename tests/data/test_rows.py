"""Bad input gives one clear error with file and line; good input gives the rows it holds."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from esft_lightning.data.reading import read_rows
from esft_lightning.data.rows import ChatRow, DataError, check_messages, expand_files, read_jsonl

GOOD = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'


def read(path: Path, on_bad_row: Any = "error") -> tuple[list[ChatRow], list[str]]:
    reading = read_rows(read_jsonl(path), check_messages, on_bad_row)
    return reading.rows, reading.skipped


def messages(*pairs: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in pairs]})


BAD_LINES = {
    "invalid JSON": ('{"messages": [', "invalid JSON"),
    "not an object": ("[1, 2]", "a JSON list, not an object"),
    "no messages": ('{"text": "hello"}', "'messages' is missing; expected {\"messages\""),
    "messages is no list": ('{"messages": "hello"}', "not a list"),
    "messages is empty": ('{"messages": []}', "not a list of messages"),
    "message is no object": ('{"messages": ["hello"]}', "messages[0] is not an object"),
    "no role": ('{"messages": [{"content": "q"}]}', "messages[0]: 'role' is missing"),
    "no content": ('{"messages": [{"role": "user"}]}', "messages[0]: 'content' is missing"),
    "unknown role": (
        messages(("human", "q"), ("assistant", "a")),
        "unknown role 'human'; expected one of system, user",
    ),
    "empty message": (messages(("user", "q"), ("assistant", "")), "messages[1]: 'content' is empty"),
    "blank message": (messages(("user", " \n "), ("assistant", "a")), "messages[0]: 'content' is empty"),
    "number as content": (messages(("user", 3), ("assistant", "a")), "messages[0]: 'content' is int, not a string"),
    "null content": (messages(("user", None), ("assistant", "a")), "NoneType, not a string"),
    "two user turns": (messages(("user", "q"), ("user", "q"), ("assistant", "a")), "role 'user' where 'assistant'"),
    "assistant first": (messages(("assistant", "a")), "role 'assistant' where 'user'"),
    "system in the middle": (messages(("user", "q"), ("system", "s"), ("assistant", "a")), "role 'system' where"),
    "no answer": (messages(("user", "q")), "the last message is not the assistant's"),
    "a key twice": (GOOD.replace("{", '{"messages": [], ', 1), "key 'messages' stands twice in one object"),
    "a key twice inside": (GOOD.replace('"role"', '"content": "z", "role"', 1), "key 'content' stands twice"),
    "thousands of digits": ('{"messages": ' + "9" * 5000 + "}", "invalid JSON"),
    "half a surrogate": ('{"messages": [{"role": "user", "content": "\\ud83d"}]}', "half a surrogate pair"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, name: str):
    line, expected = BAD_LINES[name]
    path = tmp_path / "law.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n{GOOD}\n")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:3: ") and expected in str(error.value)


@pytest.mark.parametrize("name", BAD_LINES)
def test_skip_leaves_out_the_bad_row_alone_and_says_why(tmp_path: Path, name: str):
    path = tmp_path / "law.jsonl"
    path.write_text(f"{GOOD}\n{BAD_LINES[name][0]}\n{GOOD}\n")
    rows, skipped = read(path, "skip")
    assert [row.origin for row in rows] == [f"{path}:1", f"{path}:3"]
    assert len(skipped) == 1 and skipped[0].startswith(f"{path}:2: ")


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "latin-1"])
def test_a_wrong_encoding_is_an_error_of_its_line(tmp_path: Path, encoding: str):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + GOOD.replace("q", "é" if encoding == "latin-1" else "判").encode(encoding))
    with pytest.raises(DataError, match=r"rows\.jsonl:2: (byte \d+ is not UTF-8|invalid JSON)"):
        read(path)


def test_missing_empty_folder_and_unmatched_glob(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match=r"empty\.jsonl: the file is empty; expected one JSON object a line"):
        read(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file .*check train_files"):
        expand_files(str(tmp_path / "absent.jsonl"))
    with pytest.raises(DataError, match="is a folder; train_files takes files or a glob"):
        expand_files([str(tmp_path)])
    with pytest.raises(DataError, match="the glob matches no file"):
        expand_files(str(tmp_path / "*.csv"))
    with pytest.raises(DataError, match="val_files is empty"):
        expand_files([], "val_files")


def test_gz_bom_blank_lines_and_windows_line_ends_read_alike(tmp_path: Path):
    plain = tmp_path / "a.jsonl"
    plain.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n" + GOOD.encode())
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert [row.messages for row in read(plain)[0]] == [row.messages for row in read(packed)[0]]
    assert [row.origin for row in read(packed)[0]] == [f"{packed}:1", f"{packed}:3"]


def test_a_damaged_gz_is_one_clear_error(tmp_path: Path):
    whole = gzip.compress((GOOD + "\n").encode() * 500)
    for name, content in {"cut": whole[:-20], "fake": GOOD.encode()}.items():
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(path)) + r":\d+: not a complete gzip file"):
            read(path)


def test_globs_are_sorted_and_no_file_is_read_twice(tmp_path: Path):
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD)
    found = expand_files([str(tmp_path / "b.jsonl"), str(tmp_path / "**/*.jsonl")])
    assert [path.name for path in found] == ["b.jsonl", "a.jsonl", "c.jsonl"]


def test_a_line_ends_at_its_newline_alone(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\u0085d\x0ce\x0bf\x1cg"
    line = json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]})
    raw = json.dumps(json.loads(line), ensure_ascii=False)
    assert "\u2028" in raw and "\u0085" in raw
    for ending in ("\n", "\r\n"):
        path = tmp_path / "rows.jsonl"
        path.write_bytes((raw + ending + line + ending).encode())
        rows, _ = read(path)
        assert [row.origin for row in rows] == [f"{path}:1", f"{path}:2"]
        assert {message["content"] for row in rows for message in row.messages} == {text}


def test_files_put_behind_one_another_keep_their_byte_order_marks_to_themselves(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    path.write_bytes(2 * (b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n") + b"\xef\xbb\xbf\n")
    assert len(read(path)[0]) == 2
