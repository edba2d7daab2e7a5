"""Where rows come from: the embedded generators, JSONL files, or `datasets.load_dataset`.

After this file all three look the same: `(origin, record)` pairs. Knows nothing of tokens or batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from esft_lightning.data.rows import DataError, expand_files, read_jsonl
from esft_lightning.hub import offline_unless_reachable

Source = Literal["embedded", "files", "hub"]
Record = tuple[str, dict[str, Any] | DataError]

AUTHORS = "https://github.com/deepseek-ai/ESFT/raw/main/datasets/{}.jsonl"
"""Where the authors publish their data: `train/<task>` and `eval/<task>`, for the `json` builder."""


@dataclass(frozen=True)
class HubDataset:
    """One split of a `datasets` data set and how its columns become a row.

    Attributes:
        id: Hub id, a local folder, or a builder such as `json`.
        split: Split, slices allowed (`train[:1000]`).
        config: Configuration name, where the data set has several.
        data_files: Files or URLs for a builder such as `json`.
        column_mapping: See `rows.map_columns`; empty where the data set already has `messages`.
    """

    id: str
    split: str = "train"
    config: str | None = None
    data_files: str | None = None
    column_mapping: Mapping[str, str] = field(default_factory=dict)


def choose_dataset(
    default: HubDataset | None,
    id: str | None,
    config: str | None,
    split: str | None,
    mapping: Mapping[str, str] | None,
    usual_split: str,
) -> HubDataset | None:
    """The user's data set where an `id` is given, else the task's own with what the user set of it."""
    if id is not None:
        return HubDataset(id, split or usual_split, config, column_mapping=mapping or {})
    if default is None:
        return None
    given = {"config": config, "split": split, "column_mapping": mapping}
    return replace(default, **{name: value for name, value in given.items() if value is not None})


def embedded_records(name: str, kind: Literal["train", "test"], count: int, seed: int) -> Iterator[Record]:
    """Rows of the generator `esft_lightning.data.embedded.<name>`: `kind` chooses `train_rows` or `test_rows`."""
    generator = import_module(f"esft_lightning.data.embedded.{name}")
    rows = generator.train_rows(count, seed) if kind == "train" else generator.test_rows(count, seed)
    for number, row in enumerate(rows):
        yield f"embedded {name} {kind} row {number}", row


def file_records(files: str | Sequence[str], what: str) -> Iterator[Record]:
    """Rows of JSONL files, in the order given; every path is checked before the first row is read.

    Raises:
        DataError: A file is missing, unreadable or empty.
    """
    for path in expand_files(files, what):
        yield from read_jsonl(path)


def hub_records(dataset: HubDataset) -> Iterator[Record]:
    """Rows of a `datasets` data set: from the hub, or a local folder of data files or of `save_to_disk`.

    Raises:
        DataError: It cannot be loaded; the way out for a machine without a network is a local copy.
    """
    import datasets

    place = f"{dataset.id}[{dataset.split}]"
    try:
        if (Path(dataset.id) / "dataset_dict.json").exists():
            loaded = datasets.load_from_disk(dataset.id)[dataset.split]
        elif (Path(dataset.id) / "state.json").exists():
            loaded = datasets.load_from_disk(dataset.id)
        else:
            if not Path(dataset.id).exists() and "/" in dataset.id:
                offline_unless_reachable()
            loaded = datasets.load_dataset(
                dataset.id, dataset.config, split=dataset.split, data_files=dataset.data_files
            )
    except Exception as error:  # whatever datasets, its readers or the network raise: the user needs the place
        raise DataError(
            f"{place}: cannot be loaded ({type(error).__name__}: {error}). Check id, config and split; without a "
            "network give hub_id a local folder of the data set, or use source=files"
        ) from error
    for number, record in enumerate(loaded):
        yield f"{place} row {number}", dict(record)  # type: ignore[arg-type]
