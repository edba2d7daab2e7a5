"""Where rows come from: the embedded generators, JSONL files, or `datasets.load_dataset`.

After this file all three look the same: `(origin, record)` pairs. Knows nothing of tokens or batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from esft_lightning.data.columns import ColumnMapping
from esft_lightning.data.rows import DataError, expand_files, read_jsonl
from esft_lightning.embedded.pools import Pool
from esft_lightning.embedded.rows import task_rows
from esft_lightning.moe.hub import offline_unless_reachable

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
        column_mapping: See `columns`; empty where the data set already has `messages` or a published form.
        split_named: Whether somebody asked for that split; else the only one of a folder will do, under any name.
    """

    id: str
    split: str = "train"
    config: str | None = None
    data_files: str | None = None
    column_mapping: ColumnMapping = field(default_factory=dict)
    split_named: bool = True


def choose_dataset(
    default: HubDataset | None,
    id: str | None,
    config: str | None,
    split: str | None,
    mapping: ColumnMapping | None,
    usual_split: str,
) -> HubDataset | None:
    """The user's data set where an `id` is given, else the task's own with what the user set of it."""
    if id is not None:
        return HubDataset(id, split or usual_split, config, None, mapping or {}, split is not None)
    if default is None:
        return None
    given = {"config": config, "split": split, "column_mapping": mapping}
    return replace(default, **{name: value for name, value in given.items() if value is not None})


def embedded_records(name: str, pool: Pool, count: int, seed: int) -> Iterator[Record]:
    """Rows of the generator `esft_lightning.embedded.<name>`, in the form of their pool (`rows.task_rows`)."""
    for number, row in enumerate(task_rows(name, pool, count, seed)):
        yield f"embedded {name} {pool} row {number}", row


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
        if any((Path(dataset.id) / name).exists() for name in ("dataset_dict.json", "state.json")):
            loaded = _saved_to_disk(dataset)
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


def _saved_to_disk(dataset: HubDataset) -> Any:
    """A split, slices and sums of splits included, of a folder that `datasets` saved.

    Raises:
        ValueError: No such split; those that there are are named.
    """
    import datasets

    if dataset.config is not None:
        raise ValueError(f"a folder of save_to_disk has no configurations, and config is {dataset.config}")
    loaded = datasets.load_from_disk(dataset.id)
    if isinstance(loaded, datasets.DatasetDict):
        splits = {str(name): rows for name, rows in loaded.items()}
    elif dataset.split_named:
        # A split that was saved alone may know where it was cut from, `train[:10%]`, or have no name: `train`, then.
        splits = {str(loaded.split or "train").partition("[")[0]: loaded}
    else:
        return loaded
    if dataset.split == "all":  # as load_dataset has it
        return datasets.concatenate_datasets(list(splits.values()))
    wanted = datasets.ReadInstruction.from_spec(dataset.split).to_absolute({name: len(r) for name, r in splits.items()})
    return datasets.concatenate_datasets([splits[part.splitname].select(range(part.from_, part.to)) for part in wanted])
