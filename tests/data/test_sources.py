"""The hub source, through `datasets.load_dataset` on local folders: same rows as files."""

import json
from pathlib import Path
from typing import Any

import pytest

from esft_lightning.data.rows import DataError
from esft_lightning.data.sources import HubDataset, hub_records
from esft_lightning.tasks import IntentDataModule, MathDataModule
from esft_lightning.tasks.code import is_python

ROWS = [{"question": f"What is {n} plus {n}?", "answer": f"{n}+{n}={2 * n}. #### {2 * n}"} for n in range(30)]
COLUMNS = {"user": "question", "assistant": "answer"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "gsm"
    home.mkdir()
    for split, rows in {"train": ROWS, "test": ROWS[:7]}.items():
        (home / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home


@pytest.fixture(autouse=True)
def _own_datasets_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_local_data_set_folder_loads_as_the_hub_does(folder: Path, tokenizer_folder: str):
    options = {"tokenizer": tokenizer_folder, "cache_dir": None, "sequence_length": 128}
    hub = MathDataModule(
        "hub",
        hub_id=str(folder),
        column_mapping=COLUMNS,
        hub_test_id=str(folder),
        test_column_mapping={"prompt": "question", "raw_answers": "answer"},
        decontaminate=0,  # the test rows are training rows, too
        **options,
    )
    files = MathDataModule("files", train_files=str(folder / "train.jsonl"), column_mapping=COLUMNS, **options)
    assert hub.data_fingerprint == files.data_fingerprint
    assert [row["raw_answers"] for row in hub.test_samples] == [[row["answer"]] for row in ROWS[:7]]
    assert hub.test_samples[0]["prompt"] == "User: What is 0 plus 0?\n\nAssistant:"
    assert hub.test_samples[3]["question"] == ROWS[3]["question"], "extras stay for the scorer"


def test_a_data_set_saved_to_disk_loads_too(folder: Path, tmp_path: Path):
    import datasets

    saved = datasets.load_dataset(str(folder))
    saved.save_to_disk(tmp_path / "both")
    saved["train"].save_to_disk(tmp_path / "one")
    expected = [record for _, record in hub_records(HubDataset(str(folder), "train"))]
    assert expected == ROWS
    for name in ("both", "one"):
        assert [record for _, record in hub_records(HubDataset(str(tmp_path / name), "train"))] == expected


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("train", range(30)),
        ("train[:10]", range(10)),
        ("train[10:20]", range(10, 20)),
        ("train[-3:]", range(27, 30)),
        ("train[:10%]", range(3)),
        ("train[50%:]", range(15, 30)),
        ("train[:2]+train[28:]", [0, 1, 28, 29]),
    ],
)
def test_saved_folders_take_slices_as_the_hub_does(folder: Path, tmp_path: Path, split: str, numbers: Any):
    import datasets

    saved = datasets.load_dataset(str(folder))
    saved.save_to_disk(tmp_path / "both")
    saved["train"].save_to_disk(tmp_path / "one")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "nameless")
    expected = [ROWS[number] for number in numbers]
    for name in (str(folder), *(str(tmp_path / name) for name in ("both", "one", "nameless"))):
        assert [record for _, record in hub_records(HubDataset(name, split))] == expected, name


def test_all_is_every_split_of_a_saved_folder_as_of_the_hub(folder: Path, tmp_path: Path):
    import datasets

    datasets.load_dataset(str(folder)).save_to_disk(tmp_path / "both")
    asked = [
        [record for _, record in hub_records(HubDataset(str(place), "all"))] for place in (folder, tmp_path / "both")
    ]
    assert asked[0] == asked[1] and len(asked[0]) == len(ROWS) + 7


def test_a_split_that_is_not_there_is_refused_with_those_that_are(folder: Path, tmp_path: Path):
    import datasets

    saved = datasets.load_dataset(str(folder))
    saved.save_to_disk(tmp_path / "both")
    saved["test"].save_to_disk(tmp_path / "one")
    datasets.load_dataset(str(folder), split="train[:4]").save_to_disk(tmp_path / "cut")
    for name, split, there in [
        ("both", "validation", r"\['train', 'test'\]"),
        ("both", "train[", "Unrecognized instruction format"),
        ("one", "train", r"\['test'\]"),
        ("cut", "test", r"\['train'\]"),
    ]:
        with pytest.raises(DataError, match=there):
            list(hub_records(HubDataset(str(tmp_path / name), split)))
    with pytest.raises(DataError, match="has no configurations, and config is main"):
        list(hub_records(HubDataset(str(tmp_path / "both"), config="main")))
    assert len(list(hub_records(HubDataset(str(tmp_path / "cut"), "train[:2]")))) == 2
    # Nobody named a split: the only one of a folder is meant, for training and for evaluation.
    for chosen in (MathDataModule(hub_id=str(tmp_path / "one")).hub, MathDataModule(hub_test_id=str(tmp_path / "cut"))
                   .hub_evaluation):  # fmt: skip
        assert chosen is not None and len(list(hub_records(chosen))) in (7, 4)
    with pytest.raises(DataError, match=r"\['test'\]"):
        list(hub_records(MathDataModule(hub_id=str(tmp_path / "one"), hub_split="train").hub))


def test_a_slice_of_a_split_and_python_rows(folder: Path):
    dataset = HubDataset(str(folder), "train[1:2]")
    assert [origin for origin, _ in hub_records(dataset)] == [f"{folder}[train[1:2]] row 0"]
    assert is_python({"instruction": "Sort a list", "output": "```Python\nsorted(x)\n```"})
    assert not is_python({"instruction": "Sort a list", "output": "```java\nList.sort();\n```"})


def test_an_unreachable_hub_says_the_way_out(folder: Path):
    with pytest.raises(DataError, match=r"nobody/nothing\[train\]: cannot be loaded .*use source=files"):
        list(hub_records(HubDataset("nobody/nothing")))
    with pytest.raises(DataError, match=r"\[absent\]: cannot be loaded"):
        list(hub_records(HubDataset(str(folder), "absent")))


def test_each_task_has_a_default_data_set_and_users_ids_replace_it():
    default = IntentDataModule("hub").hub
    assert default is not None and "train/intent.jsonl" in str(default.data_files)
    assert MathDataModule("hub").hub.id == "meta-math/MetaMathQA"
    own = MathDataModule("hub", hub_id="me/mine", column_mapping=COLUMNS).hub
    assert (own.id, own.split, own.column_mapping) == ("me/mine", "train", COLUMNS)
    part = MathDataModule("hub", hub_split="train[:9]", hub_test_split="test[:5]")
    assert (part.hub.id, part.hub.split) == ("meta-math/MetaMathQA", "train[:9]")
    assert (part.hub_evaluation.id, part.hub_evaluation.config, part.hub_evaluation.split) == (
        "openai/gsm8k",
        "main",
        "test[:5]",
    )


def test_the_authors_file_through_the_json_builder_gives_the_rows_of_the_file(reference_data):
    path = reference_data / "esft" / "train" / "law.jsonl"
    loaded = [record["messages"] for _, record in hub_records(HubDataset("json", data_files=str(path)))]
    lines = path.read_bytes().split(b"\n")
    assert loaded == [json.loads(line)["messages"] for line in lines if line]
