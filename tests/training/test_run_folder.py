"""A run's folder is one place, claimed by one run, whatever its loggers are."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from training_runs import make_data, make_module, make_trainer, train, write_base, write_rows

from esft_lightning.strategies import ESFTToken, LoRA
from esft_lightning.training import run_folder as room
from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler
from esft_lightning.training.callbacks.last_and_best import LastAndBestCheckpoint
from esft_lightning.training.run_folder import RunFolder, run_folder

LEFT = {"run.json", "adapter", "adapter_best", "affinity.safetensors", "expert_cfg.json", "checkpoints"}


class Remote(Logger):
    """A logger as WandbLogger and MLFlowLogger are: one folder for all runs, an id for each."""

    def __init__(self, save_dir: Path, version: str | None) -> None:
        super().__init__()
        self._save_dir, self._version = str(save_dir), version
        self.hyper_parameters: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return "project"

    @property
    def version(self) -> str | None:
        return self._version

    @property
    def save_dir(self) -> str:
        return self._save_dir

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.hyper_parameters |= params


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


LOGGERS: dict[str, Any] = {
    "none": lambda root: False,
    "tensorboard": lambda root: TensorBoardLogger(root, name="mine"),
    "tensorboard without version": lambda root: TensorBoardLogger(root, name="", version=""),
    "tensorboard with a version": lambda root: TensorBoardLogger(root, name="mine", version="first"),
    "tensorboard with a number": lambda root: TensorBoardLogger(root, name="mine", version=7, sub_dir="events"),
    "csv": lambda root: CSVLogger(root, name="mine"),
    "csv with a version": lambda root: CSVLogger(root, name="mine", version="first"),
    "remote": lambda root: Remote(root, "same"),
    "remote without version": lambda root: Remote(root, None),
    "several": lambda root: [Remote(root, "x"), TensorBoardLogger(root), CSVLogger(root)],
}


@pytest.mark.parametrize("name", LOGGERS)
def test_two_runs_leave_everything_in_a_folder_each(name: str, base: str, rows: str, tmp_path: Path) -> None:
    folders = []
    for _ in range(2):
        _, _, trainer = train(
            tmp_path, base, rows, ESFTToken(), steps=2, logger=LOGGERS[name](tmp_path), enable_checkpointing=True,
            callbacks=[AdapterCheckpoint(), LastAndBestCheckpoint(monitor="val/loss", filename="best", save_last=True)],
            limit_val_batches=1.0, check_val_every_n_epoch=None, val_check_interval=1,
        )  # fmt: skip
        folders.append(run_folder(trainer))
    assert folders[0] != folders[1]
    for folder in folders:
        assert {path.name for path in folder.iterdir()} >= LEFT
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
        record = json.loads((folder / "run.json").read_text())
        assert (record["task"], record["strategy"], record["base"]) == ("intent", "ESFTToken", base)
    for kind in ("adapter", "adapter_best", "checkpoints", "expert_cfg.json"):
        inside = [path for path in tmp_path.rglob(kind) if path.parent.name not in ("adapter", "adapter_best")]
        assert sorted(path.parent for path in inside) == sorted(folders), "and nowhere else"
    events, metrics = (sorted(tmp_path.rglob(pattern)) for pattern in ("events.out*", "metrics.csv"))
    for files, wanted in ((events, "tensorboard"), (metrics, "csv")):
        if name.startswith(wanted) or name == "several":
            assert len(files) == 2 and all(folder in file.parents for folder, file in zip(folders, files, strict=True))


def test_runs_that_start_together_get_a_folder_each(tmp_path: Path) -> None:
    record = {"verb": "fit"}

    def claim(number: int) -> int | str:
        if number % 2:
            return room._claim_named(tmp_path, "mine", record)
        return room._claim_numbered(tmp_path, 0, record)

    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(claim, range(64)))
    assert len(set(claimed)) == 64
    assert sorted(claimed[0::2]) == list(range(32))
    assert {path.name for path in tmp_path.iterdir()} == {room._version_name(name) for name in claimed}


def test_a_fixed_version_that_another_run_has_gets_a_number_behind_it(
    base: str, rows: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "mine" / "first").mkdir(parents=True)  # an empty folder is nobody's
    names = []
    for _ in range(3):
        logger = TensorBoardLogger(tmp_path, name="mine", version="first")
        train(tmp_path, base, rows, LoRA(rank=2), steps=1, logger=logger)
        names.append(Path(logger.log_dir).name)
    assert names == ["first", "first-1", "first-2"]
    assert "mine/first is another run's; this one goes into" in caplog.text


def test_an_evaluation_joins_the_run_of_a_fixed_version_and_claims_its_own_without(
    base: str, rows: str, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path, name="mine", version="first")
    train(tmp_path, base, rows, LoRA(rank=2), steps=1, logger=logger)
    for version, folder in (("first", "first"), (None, "version_0")):
        trainer = make_trainer(
            tmp_path, limit_val_batches=1.0, logger=TensorBoardLogger(tmp_path, name="mine", version=version)
        )
        trainer.validate(make_module(base, LoRA(rank=2)), datamodule=make_data(base, rows), verbose=False)
        assert run_folder(trainer) == tmp_path / "mine" / folder


def test_a_logger_that_is_used_again_moves_on(base: str, rows: str, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="mine")
    for number in range(2):
        _, _, trainer = train(tmp_path, base, rows, LoRA(rank=2), steps=1, logger=logger)
        assert run_folder(trainer) == tmp_path / "mine" / f"version_{number}" == Path(logger.log_dir)
    assert [len(list((tmp_path / "mine" / f"version_{n}").glob("events*"))) for n in range(2)] == [1, 1]


def test_data_that_are_refused_leave_no_folder(base: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    data = make_data(base, str(rows), cache_dir=str(tmp_path / "cache"))
    trainer = make_trainer(tmp_path / "runs", max_steps=1, logger=TensorBoardLogger(tmp_path / "runs", name="mine"))
    with pytest.raises(ValueError, match=r"rows\.jsonl:1"):
        trainer.fit(make_module(base, LoRA(rank=2)), datamodule=data)
    assert not list(tmp_path.glob("runs/*/version_*"))


def test_a_given_folder_is_taken_as_it_is(base: str, rows: str, tmp_path: Path) -> None:
    for _ in range(2):
        folder = RunFolder(tmp_path / "given")
        train(tmp_path, base, rows, ESFTToken(), steps=1, callbacks=[folder, ExpertAffinityProfiler()])
    assert (tmp_path / "given" / "expert_cfg.json").is_file()
    assert not (tmp_path / "intent").exists()


def test_every_logger_gets_the_settings(base: str, rows: str, tmp_path: Path) -> None:
    from esft_lightning.training.callbacks import BudgetReport

    remote, csv = Remote(tmp_path, None), CSVLogger(tmp_path, name="mine")
    train(tmp_path, base, rows, LoRA(rank=2), steps=1, logger=[remote, csv], callbacks=[BudgetReport()])
    known = remote.hyper_parameters
    assert known["strategy"]["init_args"]["rank"] == 2 and known["base"] == base
    assert known["batch_size"] == 4 and known["task"] == "intent" and known["trained_parameters"] > 0
    assert "class_path: esft_lightning.strategies.lora.LoRA" in (Path(csv.log_dir) / "hparams.yaml").read_text()


def test_profiles_are_kept_beside_the_runs(base: str, rows: str, tmp_path: Path) -> None:
    for logger in (False, Remote(tmp_path / "elsewhere", None), TensorBoardLogger(tmp_path, name="mine")):
        train(tmp_path, base, rows, ESFTToken(), steps=1, logger=logger)
    assert len(list((tmp_path / "profiles").iterdir())) == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_callback_in_a_foreign_module_claims_a_folder_when_it_asks(tmp_path: Path) -> None:
    from lightning.pytorch.demos.boring_classes import BoringModel

    trainer = Trainer(
        default_root_dir=tmp_path, max_steps=1, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False, logger=CSVLogger(tmp_path, name="mine"), num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(BoringModel())
    assert run_folder(trainer) == tmp_path / "mine" / "version_0"
