"""Which packed rows come when: order by (seed, epoch), rank slices, and a state to resume from.

Not a `torch.utils.data.DataLoader`, on purpose: Lightning puts its own shuffling sampler into those, and the rows are
already arrays in memory, so there is nothing for worker processes to do.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from esft_lightning.data.batches import collate
from esft_lightning.data.packing import PackedRows
from esft_lightning.data.rows import DataError


class PackedLoader:
    """Batches of packed rows, the same on every machine for the same seed.

    A step's global batch is `batch_size` consecutive rows of the epoch's order; rank r of w takes `batch[r::w]`, so
    that the union over ranks is the global batch whatever w is. The last batch of an epoch may be smaller; no row is
    dropped, and a rank it leaves with nothing gets one row of padding without labels.
    """

    def __init__(
        self,
        rows: PackedRows,
        batch_size: int,
        *,
        pad_id: int,
        index: np.ndarray | None = None,
        seed: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        world_size: int = 1,
        cross_sample_attention: bool = True,
        padding_free: bool = False,
    ) -> None:
        """Make a loader.

        Args:
            rows: Packed rows.
            batch_size: Rows of the GLOBAL batch of one step, all ranks together.
            pad_id: Filler token.
            index: The rows served, in this order where `shuffle` is off; default all.
            seed: With the epoch, decides the order.
            shuffle: New order each epoch, or always the same.
            rank: This process.
            world_size: Number of processes.
            cross_sample_attention: See `collate`.
            padding_free: See `collate`.

        Raises:
            DataError: `batch_size` leaves a rank with nothing in every step.
        """
        if batch_size < world_size:
            raise DataError(
                f"batch_size={batch_size} is the number of rows of ALL {world_size} processes together and leaves some "
                f"with nothing; set at least batch_size={world_size}"
            )
        self.rows = rows
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.index = np.arange(len(rows)) if index is None else np.asarray(index)
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.cross_sample_attention = cross_sample_attention
        self.padding_free = padding_free
        self.epoch = 0
        self.done = 0
        self.served = 0
        self._start = (0, 0)  # batches and rows that the next pass leaves out
        self._resumed = (0, 0)  # the same of the epoch at hand

    def __len__(self) -> int:
        """Batches of the epoch at hand, equal on all ranks: those counted before it was resumed, and those to come."""
        done, served = self._resumed
        return done - (served - len(self.index)) // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers of an epoch in the order served: a function of (seed, epoch) alone."""
        if not self.shuffle:
            return self.index
        return np.random.default_rng([self.seed, epoch]).permutation(self.index)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Serve the current epoch, from the loaded state's place where there is one.

        Nothing is decided before the first batch is asked for: Lightning makes iterators before it sets the epoch.
        """
        self._resumed, self._start = self._start, (0, 0)
        self.done, self.served = self._resumed
        order = self.order(self.epoch)
        while self.served < len(order):
            rows = order[self.served : self.served + self.batch_size]
            self.done, self.served = self.done + 1, self.served + len(rows)
            yield collate(
                self.rows,
                rows[self.rank :: self.world_size],
                pad_id=self.pad_id,
                cross_sample_attention=self.cross_sample_attention,
                padding_free=self.padding_free,
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to serve; the epoch of a loaded state keeps its place."""
        if epoch != self.epoch:
            self.epoch, self.done, self.served = epoch, 0, 0
            self._start = self._resumed = (0, 0)

    batch_sampler = None  # Lightning asks whatever has a `sampler` for it

    @property
    def sampler(self) -> "PackedLoader":
        """Itself: Lightning calls `loader.sampler.set_epoch` at the start of each epoch."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """`epoch`, and how far it is: `done` batches of `batch_size`, `served` rows."""
        return {"epoch": self.epoch, "done": self.done, "served": self.served, "batch_size": self.batch_size}

    def place_behind(self, done: int) -> dict[str, Any]:
        """The state behind so many batches of the epoch at hand.

        Args:
            done: Batches, no fewer than were left out when the epoch was resumed.
        """
        left_out, rows = self._resumed
        served = min(rows + (done - left_out) * self.batch_size, len(self.index))
        return {**self.state_dict(), "done": done, "served": served}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the last row that was served when `state_dict` was taken.

        Raises:
            DataError: It counts batches of another size, which whoever counts them too has to bring into this
                loader's first (`resuming.go_on_in_data`); else rows would be left out or served again.
        """
        size = state_dict.get("batch_size", self.batch_size)
        if size != self.batch_size:
            raise DataError(
                f"this place in the data was taken with batch_size={size}, the loader has {self.batch_size}; resume "
                f"with a DataModule, or with batch_size={size}"
            )
        self.epoch, self.done = int(state_dict["epoch"]), int(state_dict["done"])
        self.served = int(state_dict.get("served", min(self.done * size, len(self.index))))
        self._start = self._resumed = (self.done, self.served)


class SampleLoader:
    """Evaluation samples in batches `{"samples": rows, "prompt_ids": ids}`; rank r of w serves `[r::w]`. Stateless.

    Where there are fewer samples than ranks, a rank without any serves one empty batch, so that it takes part.
    """

    def __init__(
        self,
        samples: list[dict[str, Any]],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        prompt_ids: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Make a loader.

        Args:
            samples: Evaluation rows (`prompt`, `raw_answers`, task extras).
            batch_size: Samples generated at once on one process.
            rank: This process.
            world_size: Number of processes.
            prompt_ids: The samples' prompts as token ids; without them a batch holds none.
        """
        self.samples = samples[rank::world_size]
        self.prompt_ids = None if prompt_ids is None else [np.asarray(ids) for ids in prompt_ids[rank::world_size]]
        self.batch_size = batch_size
        self._batches = max(-(-len(self.samples) // batch_size), 1 if samples else 0)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[dict[str, list[Any]]]:
        for start in range(0, self._batches * self.batch_size, self.batch_size):
            part = slice(start, start + self.batch_size)
            ids = {} if self.prompt_ids is None else {"prompt_ids": self.prompt_ids[part]}
            yield {"samples": self.samples[part], **ids}
