"""A DataModule in words, as `print` shows it: its settings, and the rows that have been read. Reads nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esft_lightning.data.task import TaskDataModule

_COUNTS = {
    "train_rows": "training rows",
    "train_packed": "packed training rows",
    "val_rows": "validation rows",
    "general_rows": "general rows",
    "test_rows": "evaluation rows",
}


def description(data: TaskDataModule) -> str:
    """Two lines: how rows become batches, and how many rows there are, as far as they have been read.

    Args:
        data: The DataModule, set up or not.
    """
    counts = [f"{data.report[key]:,} {what}" for key, what in _COUNTS.items() if isinstance(data.report.get(key), int)]
    return (
        f"{type(data).__name__}: source {data.source}, tokenizer {data.tokenizer_base}, format {data.chat_format}, "
        f"{data.batch_size} packed rows of {data.sequence_length} tokens a batch\n"
        f"{', '.join(counts) or 'no row has been read yet'}"
    )
