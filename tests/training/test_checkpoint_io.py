"""Checkpoints go straight to disk, whole or not at all."""

import os
import tracemalloc

import fsspec
import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from esft_lightning.errors import FileError, SettingError
from esft_lightning.training.checkpoint_io import DirectCheckpointIO


def peak_of_saving(writer, path) -> int:
    """Most bytes that Python allocated meanwhile; tensors are not Python's."""
    checkpoint = {"state_dict": {"w": torch.zeros(5_000_000)}}
    tracemalloc.start()
    try:
        writer.save_checkpoint(checkpoint, path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_file_is_never_whole_in_memory(tmp_path):
    assert peak_of_saving(TorchCheckpointIO(), tmp_path / "theirs.ckpt") > 20e6  # so the measure sees it
    assert peak_of_saving(DirectCheckpointIO(), tmp_path / "new" / "ours.ckpt") < 5e6
    loaded = DirectCheckpointIO().load_checkpoint(tmp_path / "new" / "ours.ckpt", weights_only=True)
    assert loaded["state_dict"]["w"].shape == (5_000_000,)


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.ckpt"
    DirectCheckpointIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        DirectCheckpointIO().save_checkpoint({"step": 2, "bad": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.ckpt"]


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("place", ["memory://run.ckpt", "run.ckpt", "http_runs/run.ckpt"])
def test_plain_data_is_all_that_a_checkpoint_is_read_for(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http_runs").mkdir()
    harmed = tmp_path / "harmed"
    for content in ({"state_dict": {"w": torch.ones(2)}}, {"state_dict": {"w": torch.ones(2)}, "harm": Harm(harmed)}):
        with fsspec.open(place, "wb") as file:
            torch.save(content, file)
        if "harm" not in content:
            assert DirectCheckpointIO().load_checkpoint(place)["state_dict"]["w"].tolist() == [1, 1]
            continue
        with pytest.raises(FileError, match="is no checkpoint of a run"):
            DirectCheckpointIO().load_checkpoint(place)
        if "://" in place:
            with pytest.raises(FileError, match="is no checkpoint of a run"):
                DirectCheckpointIO().load_checkpoint(place, weights_only=False)
    assert not harmed.exists()
    with fsspec.open(place, "rb") as file:
        torch.load(file, weights_only=False)
    assert harmed.exists(), "it does harm where it is unpickled"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/best.ckpt", "HTTPS://example.org/best.ckpt"])
def test_no_checkpoint_comes_from_the_web(address, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **options: pytest.fail("it is fetched"))
    with pytest.raises(SettingError, match="download it, and give the file"):
        DirectCheckpointIO().load_checkpoint(address)
