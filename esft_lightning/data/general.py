"""General text by itself: packed chat rows that belong to no task, for measures of the model as such."""

from __future__ import annotations

from typing import Any

from esft_lightning.data.chat import ChatFormat
from esft_lightning.data.loader import PackedLoader
from esft_lightning.data.packing import pack
from esft_lightning.data.reading import note, read_rows
from esft_lightning.data.rows import DataError, check_messages
from esft_lightning.data.sources import HubDataset, embedded_records, file_records, hub_records
from esft_lightning.data.tokenization import tokenize_rows
from esft_lightning.moe.tokenizer import padding_id

EMBEDDED_ROWS = 4_000
_SEED = 5934875


def general_loader(
    tokenizer: Any,
    source: str | None = None,
    *,
    sequence_length: int = 512,
    batch_size: int = 8,
    chat_format: ChatFormat = "esft",
) -> PackedLoader:
    """Packed rows of general text, always the same ones in the same order; each sample is read by itself.

    Args:
        tokenizer: The base model's tokenizer.
        source: JSONL file of `messages` rows (a glob is fine), or the hub id of a data set that has them, with its
            split in square brackets where it is not `train` (`org/name[train_sft]`). None takes the embedded rows.
        sequence_length: Tokens of a packed row; longer samples keep their tail.
        batch_size: Packed rows of a batch.
        chat_format: As for tasks.

    Returns:
        A loader that serves the rows once, in their order.

    Raises:
        DataError: The source cannot be read or holds no usable row.
    """
    if source is None:
        records = embedded_records("general", "train", EMBEDDED_ROWS, _SEED)
    elif source.endswith((".jsonl", ".json", ".jsonl.gz")):
        records = file_records(source, "general text")
    else:
        name, _, split = source.partition("[")
        records = hub_records(HubDataset(name, split.removesuffix("]") or "train"))
    reading = read_rows(records, check_messages, "skip")
    if not reading.rows:
        count = len(reading.skipped)
        raise DataError(f"general text: no usable row in {source or 'embedded'} ({count} bad rows skipped)")
    note(reading, {"task": "general text"}, "general", aloud=True)
    samples = tokenize_rows(reading.rows, tokenizer, chat_format)
    packed = pack(samples, sequence_length, bos_id=tokenizer.bos_token_id, seed=_SEED)
    return PackedLoader(packed, batch_size, pad_id=padding_id(tokenizer), cross_sample_attention=False)
