"""A folder appears whole or not at all."""

import pytest

from esft_lightning.storage import whole_folder


def test_it_appears_at_the_end_and_only_then(tmp_path):
    with whole_folder(tmp_path / "deep" / "new") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]
    assert (tmp_path / "deep" / "new" / "file").read_text() == "x"


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").write_text("x")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "kept", replace=True) as folder:
        (folder / "half").write_text("y")
        raise RuntimeError("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["old"]


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").write_text("x")
    with pytest.raises(FileExistsError, match="name another output"), whole_folder(tmp_path / "kept"):
        pass
    with whole_folder(tmp_path / "kept", replace=True) as folder:
        (folder / "new").write_text("y")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new"]
