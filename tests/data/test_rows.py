"""Bad input gives one clear error with file and line; good input gives the rows it holds."""

import gzip
import json
import re
from pathlib import Path

import pytest

from esft_lightning.data.rows import DataError, check_messages, expand_files, map_columns, read_jsonl, read_rows

GOOD = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'


def read(path: Path, on_bad_row="error", mapping=None):
    return read_rows(read_jsonl(path), check_messages, on_bad_row, mapping)


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


def test_column_mapping_renames_nests_and_fills_in_texts():
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
