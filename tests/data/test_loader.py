"""Order by (seed, epoch) alone, rank slices, and resuming from any batch, by hand and through Lightning."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from esft_lightning.data.loader import PackedLoader, SampleLoader
from esft_lightning.data.packing import PackedRows
from esft_lightning.data.rows import DataError


def rows_of(count: int, length: int = 4) -> PackedRows:
    ids = np.arange(count * length, dtype=np.int32).reshape(count, length)
    number = np.broadcast_to(np.arange(count, dtype=np.int32)[:, None], ids.shape)
    return PackedRows(ids, np.ones(ids.shape, bool), number, np.full(count, length))


def loader_of(count: int = 23, batch_size: int = 5, **options) -> PackedLoader:
    return PackedLoader(rows_of(count), batch_size, pad_id=0, **{"seed": 7, "shuffle": True, **options})


def served(loader: PackedLoader) -> list[list[int]]:
    return [batch["row_index"].tolist() for batch in loader]


def test_each_epoch_serves_each_row_once_in_an_order_of_seed_and_epoch_alone():
    loader = loader_of()
    epochs = []
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        epochs.append(served(loader))
        assert sorted(chain(*epochs[-1])) == list(range(23)) and len(epochs[-1]) == len(loader) == 5
    assert epochs[0] == epochs[2] != epochs[1]
    later = loader_of()
    later.set_epoch(1)
    assert served(later) == epochs[1], "epoch 1 is the same whether or not epoch 0 was served"
    assert served(loader_of(seed=8)) != epochs[0]
    torch.manual_seed(0), np.random.seed(0)  # global generators must not matter
    assert served(loader_of()) == epochs[0]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_the_union_over_ranks_is_the_global_batch(count, batch_size, world, epoch):
    if batch_size < world:
        with pytest.raises(ValueError, match="leaves some with nothing"):
            loader_of(count, batch_size, world_size=world)
        return
    whole = loader_of(count, batch_size)
    ranks = [loader_of(count, batch_size, rank=rank, world_size=world) for rank in range(world)]
    for loader in (whole, *ranks):
        loader.set_epoch(epoch)
    parts = [served(loader) for loader in ranks]
    assert len({len(part) for part in parts}) == 1, "all ranks take part in every step"
    for step, batch in enumerate(served(whole)):
        assert sorted(chain(*(part[step] for part in parts))) == sorted(batch)
        assert all(part[step] == batch[rank::world] for rank, part in enumerate(parts))


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("done", range(6))
def test_a_loaded_state_goes_on_with_the_remaining_batches(epoch, done):
    whole = loader_of()
    whole.set_epoch(epoch)
    expected = served(whole)
    first = loader_of()
    first.set_epoch(epoch)
    taken = [batch["row_index"].tolist() for _, batch in zip(range(done), first, strict=False)]
    state = first.state_dict()
    assert state == {"epoch": epoch, "done": done, "served": min(5 * done, 23), "batch_size": 5}
    assert taken == expected[:done]
    resumed = loader_of()
    resumed.load_state_dict(state)
    iter(resumed), iter(resumed)  # iterators nobody reads change nothing
    resumed.set_epoch(epoch)
    assert served(resumed) == expected[done:]
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert served(resumed) == served(whole), "the next epoch starts at its beginning"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 40), st.integers(0, 7))
def test_a_place_in_rows_leaves_the_rows_behind_it_in_batches_of_any_size(count, batch_size, served_rows, done):
    served_rows = min(served_rows, count)
    order = loader_of(count, batch_size).order(0).tolist()
    loader = loader_of(count, batch_size)
    loader.load_state_dict({"epoch": 0, "done": done, "served": served_rows, "batch_size": batch_size})
    length = len(loader)
    parts = served(loader)
    assert list(chain(*parts)) == order[served_rows:]
    assert len(loader) == length == done + len(parts), "Lightning asks before, and expects no other number later"
    assert all(len(part) == batch_size for part in parts[:-1])
    loader.set_epoch(1)
    assert len(loader) == len(loader_of(count, batch_size)) == len(served(loader))


def test_a_place_counted_in_batches_of_another_size_is_refused():
    state = loader_of(23, 5).state_dict()
    with pytest.raises(DataError, match=r"batch_size=5, the loader has 4"):
        loader_of(23, 4).load_state_dict(state)


def test_without_shuffle_the_index_is_served_as_it_stands():
    loader = loader_of(10, 4, index=np.array([9, 1, 5]), shuffle=False)
    loader.set_epoch(3)
    assert served(loader) == [[9, 1, 5]] == served(loader)


def test_samples_are_dealt_over_ranks_without_loss():
    samples = [{"n": n} for n in range(11)]
    parts = [[row["n"] for batch in SampleLoader(samples, 4, rank, 3) for row in batch["samples"]] for rank in range(3)]
    assert sorted(chain(*parts)) == list(range(11)) and parts[1] == [1, 4, 7, 10]
    assert [len(batch["samples"]) for batch in SampleLoader(samples, 4)] == [4, 4, 3]


def test_a_rank_without_samples_serves_one_empty_batch():
    loaders = [SampleLoader([{"n": 0}], 4, rank, 3) for rank in range(3)]
    assert [list(loader) for loader in loaders] == [[{"samples": [{"n": 0}]}], [{"samples": []}], [{"samples": []}]]
    assert [len(loader) for loader in loaders] == [1, 1, 1]
    assert len(SampleLoader([], 4)) == 0 == len(list(SampleLoader([], 4)))


class Recorder(LightningModule):
    """One weight, and the row numbers of every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["row_index"].tolist())
        return (self.weight - batch["input_ids"].float().mean() / 100).square().sum()

    def validation_step(self, batch, batch_idx):
        self.log("val", batch["input_ids"].float().mean(), batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, *, max_epochs: int = 3, resume: Path | None = None, accumulate: int = 1, every: int = 1):
    module = Recorder()
    keep = ModelCheckpoint(folder, "{step}", every_n_train_steps=every, save_top_k=-1)
    trainer = Trainer(
        max_epochs=max_epochs,
        callbacks=[keep],
        accumulate_grad_batches=accumulate,
        val_check_interval=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    validation = PackedLoader(rows_of(6), 3, pad_id=0)
    trainer.fit(module, loader_of(), validation, ckpt_path=None if resume is None else str(resume), weights_only=True)
    return module


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning_resumed_at_any_step_serves_what_a_run_never_stopped_serves(tmp_path: Path, accumulate: int):
    whole = fit(tmp_path / "whole", accumulate=accumulate)
    batches = 15
    assert len(whole.seen) == batches and len({str(whole.seen[n : n + 5]) for n in (0, 5, 10)}) == 3
    for step in range(1, batches // accumulate if accumulate == 1 else 9):
        checkpoint = tmp_path / "whole" / f"step={step}.ckpt"
        resumed = fit(tmp_path / "resumed", accumulate=accumulate, resume=checkpoint)
        done = step if accumulate == 1 else [2, 4, 5, 7, 9, 10, 12, 14, 15][step - 1]
        assert resumed.seen == whole.seen[done:], f"resumed behind step {step}"
        assert torch.equal(resumed.weight, whole.weight)
