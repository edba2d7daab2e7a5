"""Checkpoints go straight to disk, whole or not at all."""

import tracemalloc

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from esft_lightning.checkpoint_io import DirectCheckpointIO


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
