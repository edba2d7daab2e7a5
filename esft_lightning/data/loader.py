"""Which packed rows come when: order by (seed, epoch), rank slices, and a state to resume from.

Not a `torch.utils.data.DataLoader`, on purpose: Lightning puts its own shuffling sampler into those, and the rows are
already arrays in memory, so there is nothing for worker processes to do.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from esft_lightning.data.batches import collate
from esft_lightning.data.packing import PackedRows
from esft_lightning.errors import SettingError


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
            ValueError: `batch_size` leaves a rank with nothing in every step.
        """
        if batch_size < world_size:
            raise SettingError(
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
        self._start = 0

    def __len__(self) -> int:
        """Batches of an epoch, equal on all ranks."""
        return -(-len(self.index) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers of an epoch in the order served: a function of (seed, epoch) alone."""
        if not self.shuffle:
            return self.index
        return np.random.default_rng([self.seed, epoch]).permutation(self.index)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Serve the current epoch, from the loaded state's place where there is one.

        Nothing is decided before the first batch is asked for: Lightning makes iterators before it sets the epoch.
        """
        start, self._start = self._start, 0
        order = self.order(self.epoch)
        self.done = start
        for number in range(start, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            self.done = number + 1
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
            self.epoch, self.done, self._start = epoch, 0, 0

    batch_sampler = None  # Lightning asks whatever has a `sampler` for it

    @property
    def sampler(self) -> "PackedLoader":
        """Itself: Lightning calls `loader.sampler.set_epoch` at the start of each epoch."""
        return self

    def state_dict(self) -> dict[str, Any]:
        """`epoch`, and `done`: batches of it already served."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the last batch that was served when `state_dict` was taken."""
        self.epoch = int(state_dict["epoch"])
        self.done = self._start = int(state_dict["done"])


class SampleLoader:
    """Evaluation samples in batches `{"samples": list of rows}`; rank r of w serves `samples[r::w]`. Stateless."""

    def __init__(self, samples: list[dict[str, Any]], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        """Make a loader.

        Args:
            samples: Evaluation rows (`prompt`, `raw_answers`, task extras).
            batch_size: Samples generated at once on one process.
            rank: This process.
            world_size: Number of processes.
        """
        self.samples = samples[rank::world_size]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, list[dict[str, Any]]]]:
        for start in range(0, len(self.samples), self.batch_size):
            yield {"samples": self.samples[start : start + self.batch_size]}
