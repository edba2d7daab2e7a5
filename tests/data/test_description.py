"""`print(datamodule)`: what it is set up with and what has been read, without reading anything."""

import pytest

from esft_lightning.tasks import IntentDataModule, LawDataModule


def test_it_reads_nothing_and_says_what_has_been_read(monkeypatch: pytest.MonkeyPatch):
    data = LawDataModule(train_rows=50, test_rows=5, cache_dir=None)
    monkeypatch.setattr(LawDataModule, "_prepare_training", lambda self: pytest.fail("read"))
    first, second = str(data).splitlines()
    assert first.startswith("LawDataModule: source embedded, tokenizer tiny") and "512 tokens" in first
    assert second == "no row has been read yet"
    monkeypatch.undo()
    data.setup("fit")
    said = str(data)
    assert all(
        f"{data.report[key]} {what}" in said for key, what in (("train_rows", "training"), ("val_rows", "validation"))
    )
    assert "evaluation" not in said
    data.setup("test")
    assert "5 evaluation rows" in str(data)


def test_files_that_are_not_there_do_not_keep_it_from_being_printed():
    assert "source files" in str(IntentDataModule(source="files", train_files="none.jsonl", tokenizer="no/such"))
