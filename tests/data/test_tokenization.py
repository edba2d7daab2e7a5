"""The token cache and the parallel path: what they return is what tokenising afresh returns."""

import os
from pathlib import Path

import numpy as np
import pytest

from esft_lightning.data import tokenization
from esft_lightning.data.rows import ChatRow, DataError
from esft_lightning.data.tokenization import tokenize_rows


def rows_of(count: int, word: str = "answer") -> list[ChatRow]:
    return [
        ChatRow([{"role": "user", "content": f"q {n}"}, {"role": "assistant", "content": f"{word} {n}"}], f"r:{n}")
        for n in range(count)
    ]


def same(a, b) -> bool:
    return a.key == b.key and all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("ids", "loss", "offsets"))


def test_the_second_time_comes_from_disk_and_is_equal(tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = rows_of(50)
    fresh = tokenize_rows(rows, tokenizer, cache_dir=tmp_path)
    monkeypatch.setattr(tokenization, "_tokenize_chunk", lambda *_: pytest.fail("tokenised although cached"))
    again = tokenize_rows(rows, tokenizer, cache_dir=tmp_path)
    assert not fresh.cached and again.cached and same(fresh, again)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"], "no temporary file is left"


def test_what_changes_the_tokens_changes_the_key(tokenizer, tokenizer_folder):
    from esft_lightning.moe.tokenizer import load_tokenizer

    base = tokenize_rows(rows_of(5), tokenizer)
    other = load_tokenizer(tokenizer_folder)
    other.add_tokens(["answer"])
    moved = [ChatRow(row.messages, "elsewhere") for row in rows_of(5)]
    assert base.key == tokenize_rows(moved, tokenizer).key, "where a row was read does not matter"
    keys = [base.key] + [
        tokenize_rows(rows, tok).key
        for rows, tok in ((rows_of(5), other), (rows_of(6), tokenizer), (rows_of(5)[::-1], tokenizer))
    ]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_cache_is_made_again(tokenizer, tmp_path: Path, damage):
    fresh = tokenize_rows(rows_of(20), tokenizer, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    again = tokenize_rows(rows_of(20), tokenizer, cache_dir=tmp_path)
    assert not again.cached and same(fresh, again)
    assert tokenize_rows(rows_of(20), tokenizer, cache_dir=tmp_path).cached


def test_a_cache_that_cannot_be_written_says_so(tokenizer, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"token cache cannot be written .*set cache_dir"):
        tokenize_rows(rows_of(3), tokenizer, cache_dir=tmp_path / "file")


def test_a_cache_entry_has_ordinary_permissions_and_a_failed_one_leaves_nothing(
    tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    tokenize_rows(rows_of(3), tokenizer, cache_dir=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    assert entry.stat().st_mode == ordinary.stat().st_mode

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="token cache cannot be written"):
        tokenize_rows(rows_of(4), tokenizer, cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [entry]


def test_processes_give_what_one_process_gives(tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokenization, "CHUNK", 7)
    rows = rows_of(20)
    one = tokenize_rows(rows, tokenizer)
    two = tokenize_rows(rows, tokenizer, num_workers=2)
    monkeypatch.setattr(tokenization, "CHUNK", 1000)
    assert same(one, two) and same(one, tokenize_rows(rows, tokenizer))


def test_ids_survive_a_change_of_folder(tokenizer, tmp_path: Path):
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        first = tokenize_rows(rows_of(4), tokenizer, cache_dir="cache")
        assert tokenize_rows(rows_of(4), tokenizer, cache_dir=tmp_path / "cache").cached
    finally:
        os.chdir(here)
    assert len(first) == 4


@pytest.mark.parametrize("keep", [0, 10, 500, -5])
def test_a_damaged_cache_entry_is_made_anew_with_a_word(
    keep: int, tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    rows = rows_of(50)
    fresh = tokenize_rows(rows, tokenizer, cache_dir=tmp_path)
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:keep])
    again = tokenize_rows(rows, tokenizer, cache_dir=tmp_path)
    assert same(fresh, again) and not again.cached
    assert f"{cached} are damaged, and are made anew" in caplog.text
    assert tokenize_rows(rows, tokenizer, cache_dir=tmp_path).cached
