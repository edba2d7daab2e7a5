"""The command line of the verbs that load a model: a LightningCLI whose YAML files compose with repeated `-c`.

    python -m esft_lightning fit -c configs/models/tiny.yaml -c configs/tasks/law.yaml -c configs/strategies/lora.yaml

Knows how settings become objects; what the objects do is theirs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionYesNo, Namespace, set_parsing_settings
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from esft_lightning import strategies, tasks
from esft_lightning.commands.environment_settings import remember_environment
from esft_lightning.commands.model_settings import without_other_models
from esft_lightning.commands.setting_checks import (
    check_checkpoint,
    check_data,
    check_output,
    check_processes,
    check_trainer,
    said_as_settings,
)
from esft_lightning.commands.wrong_keys import SuggestingParser, refuse
from esft_lightning.data.task import TaskDataModule
from esft_lightning.errors import SettingError, one_line
from esft_lightning.moe.base_source import base_source
from esft_lightning.storage import atomic_write
from esft_lightning.training.callbacks.adapter_checkpoint import AdapterCheckpoint
from esft_lightning.training.callbacks.affinity_profiler import ExpertAffinityProfiler
from esft_lightning.training.callbacks.budget_report import BudgetReport
from esft_lightning.training.callbacks.last_and_best import LastAndBestCheckpoint
from esft_lightning.training.callbacks.routing_monitor import RoutingMonitor
from esft_lightning.training.callbacks.termination_checkpoint import TerminationCheckpoint
from esft_lightning.training.engines import SplitLayersStrategy
from esft_lightning.training.last_run import find_checkpoint
from esft_lightning.training.module import ExpertFineTuner
from esft_lightning.training.run_config import RunConfig
from esft_lightning.training.run_folder import run_folder, task_of
from esft_lightning.training.run_logger import RunLogger
from esft_lightning.training.shown_log import shown_log

# Short names (`--data IntentDataModule`, `--model.strategy ESFTGate`) are those of classes that have been imported.
_SHORT_NAMES = [getattr(package, name) for package in (tasks, strategies) for name in package.__all__]

SEED = 5934875  # the authors' (their configs/base.yaml)
RUNS = "runs"
# The paper: at most 500 steps, evaluation every 100, clipping at 1.0. BudgetReport replaces the model summary.
# Logging every step would cost an embedded model's step 2 %.
TRAINER_DEFAULTS: dict[str, Any] = {
    "max_steps": 500,
    "check_val_every_n_epoch": None,
    "val_check_interval": 100,
    "gradient_clip_val": 1.0,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
}


class FineTuningTrainer(Trainer):
    """Lightning's Trainer with the profiling pass as a verb of its own."""

    def profile(
        self, model: ExpertFineTuner, datamodule: LightningDataModule, output: str | None = None
    ) -> Path | None:
        """Run the profiling pass alone and write the affinity profile.

        Args:
            model: Its base is loaded and read, nothing is trained.
            datamodule: The task whose training rows are read.
            output: File to write, besides the cache that `fit` looks in.

        Returns:
            The file written for `output`.

        Raises:
            MisconfigurationException: With several processes, of which this one would read its own rows alone.
        """
        if self.world_size > 1:
            raise SettingError(
                f"profile reads the rows in one process, and trainer.devices makes {self.world_size}; set "
                "trainer.devices=1 and trainer.strategy=auto: `fit` finds the profile with any number of processes"
            )
        check_output(output)
        profiler = next(
            (callback for callback in self.callbacks if isinstance(callback, ExpertAffinityProfiler)),  # type: ignore[attr-defined]
            None,
        )
        profiler = profiler or ExpertAffinityProfiler()
        self.strategy.connect(model)
        self._data_connector.attach_data(model, datamodule=datamodule)
        datamodule.prepare_data()
        datamodule.setup("fit")
        base = model.load_base()
        model.check_tokenizer()
        if not isinstance(self.strategy, SplitLayersStrategy):
            base.to(self.strategy.root_device)
        profile = profiler.measure(self, model)
        if output is None:
            return None
        profile.save(output)
        print(f"Profile written: {output}")
        print(f"next: python -m esft_lightning select --profile {output} --score gate --top-p 0.1")
        return Path(output)

    def predict(self, *args: Any, output: str | None = None, **options: Any) -> Any:
        """Generate answers.

        Args:
            args: As Lightning's `predict` takes them.
            output: Where the command line writes the JSONL; none takes `predictions.jsonl` in the run's folder.
            options: As Lightning's `predict` takes them.
        """
        return super().predict(*args, **options)


class FineTuningCLI(LightningCLI):
    """LightningCLI with this library's module, tasks, callbacks and defaults."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Parse, make the objects, run the verb; as Lightning's."""
        given = options.get("args")
        self._verb = next(iter(sys.argv[1:] if given is None else given), None)
        super().__init__(*args, **options)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; files named by `-c` are found and checked first, and say nothing for another base than their own."""
        if isinstance(args, dict | Namespace):
            super().parse_arguments(parser, args)
            return
        arguments = without_other_models(sys.argv[1:] if args is None else args)
        remember_environment(self.subcommands())
        with said_as_settings():
            self.config = parser.parse_args(arguments)

    def _parse_ckpt_path(self) -> None:
        """Refuse a checkpoint that cannot be read, before anything is made; what is in it is the module's business.

        Lightning's own would put the checkpoint's settings over the given ones, in silence.
        """
        if self.config.get("subcommand"):
            settings = self.config[self.config.subcommand]
            root = settings.trainer.get("default_root_dir")
            check_checkpoint(settings.get("ckpt_path"), root, training=self.config.subcommand == "fit")

    def _set_seed(self) -> None:
        """Seed everything; a seed that numpy does not take is a setting."""
        with said_as_settings():
            super()._set_seed()

    def instantiate_classes(self) -> None:
        """Make the objects; what a constructor refuses is said as the setting that it is."""
        try:
            check_trainer(self._get(self.config, "trainer"))
            check_data(self._get(self.config, "data"))
        except SettingError as error:
            refuse(str(error))
        with said_as_settings():
            super().instantiate_classes()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks, each configurable under its own key, and tie what must agree."""
        parser.add_lightning_class_args(ExpertAffinityProfiler, "affinity")
        parser.add_lightning_class_args(AdapterCheckpoint, "adapter")
        parser.add_lightning_class_args(BudgetReport, "budget")
        parser.add_lightning_class_args(RoutingMonitor, "routing")
        parser.add_lightning_class_args(TerminationCheckpoint, "termination")
        parser.add_lightning_class_args(LastAndBestCheckpoint, "checkpoint")
        parser.add_argument(
            "--force_data",
            action=ActionYesNo,
            nargs="?",
            default=False,
            help="fit: go on from --ckpt_path with other data than the checkpoint's, from their first row",
        )
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/loss",
                "checkpoint.filename": "best",
                "checkpoint.save_last": True,
            }
        )
        parser.link_arguments("force_data", "model.force_data")
        parser.link_arguments("model.base", "data.init_args.tokenizer")
        parser.link_arguments("model.revision", "data.init_args.revision")
        parser.link_arguments("model.trust_remote_code", "data.init_args.trust_remote_code")

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's verbs but for predict's return value, and `profile`; only the one that is asked for.

        A parser of all settings is made for each, which takes a quarter of a second.
        """
        skip = {"model", "dataloaders", "datamodule"}
        verbs = {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
            "validate": skip,
            "test": skip,
            "predict": {*skip, "return_predictions"},
            "profile": {"model", "datamodule"},
        }
        return {self._verb: verbs[self._verb]} if self._verb in verbs else verbs

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the Trainer; unless told otherwise, runs of all strategies log under one root, a folder each."""
        configured = self._get(self.config_init, "trainer", default={})
        kwargs["default_root_dir"] = configured.get("default_root_dir") or RUNS
        if configured.get("logger") in (None, True):
            kwargs["logger"] = RunLogger(
                kwargs["default_root_dir"],
                name=f"{task_of(self.datamodule)}/{self.model.strategy.name}",
                default_hp_metric=False,
            )
        return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        if config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, LastAndBestCheckpoint)]
        return super()._instantiate_trainer(config, callbacks)

    def after_instantiate_classes(self) -> None:
        """Tell the Trainer which checkpoint it goes on from before anything starts; find `last` and `best` by run.

        Raises:
            UserError: If there is no such base or run, or a setting is without effect.
        """
        if self.subcommand is None:
            return
        base_source(self.model.base, self.model.revision)  # before data are read
        if self.subcommand == "fit":
            check_processes(self.trainer, self.datamodule)
        settings = self.config_init[self.subcommand]
        checkpoint = settings.get("ckpt_path")
        if self.model.force_data and (self.subcommand != "fit" or checkpoint is None):
            raise SettingError("--force_data is for a fit that goes on from --ckpt_path; leave it out")
        if checkpoint in ("last", "best"):
            checkpoint = find_checkpoint(
                checkpoint,
                self.trainer,
                strategy=self.model.strategy.name,
                base=self.model.base,
                task=task_of(self.datamodule),
            )
            if self.trainer.is_global_zero:
                print(f"ckpt_path={settings['ckpt_path']}: {checkpoint}")
        if checkpoint not in (None, "hpc"):
            settings["ckpt_path"] = None
            self.trainer.ckpt_path = str(checkpoint)

    def before_test(self) -> None:
        """Keep answers as they come, unless told where."""
        if self.model.answers is None:
            self.model.answers = "auto"

    def predict(self, output: str | None = None, **kwargs: Any) -> None:
        """Generate answers and write them as JSON lines, into the run's folder unless told where."""
        check_output(output)
        batches = self.trainer.predict(**kwargs, return_predictions=True) or []
        path = Path(output or run_folder(self.trainer) / "predictions.jsonl")
        if self.trainer.world_size > 1:
            path = path.with_name(f"{path.stem}-rank{self.trainer.global_rank}{path.suffix}")
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for batch in batches for row in batch]  # type: ignore[union-attr]
        atomic_write(path, "".join(lines).encode())
        print(f"{len(lines)} predictions written: {path}")


def make_cli(args: Sequence[str] | None = None, run: bool = True) -> FineTuningCLI:
    """Parse arguments and make module, data and Trainer; with `run`, run the verb that the arguments start with.

    Args:
        args: Command-line arguments; none takes the process's own.
        run: Whether the arguments start with a verb that is run.

    Returns:
        The CLI with `model`, `datamodule` and `trainer`.
    """
    # A default that is a member of an enumeration (that of Lightning's Timer) is written as its value.
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))
    # Config files may refer to one another's values (`${model.base}`), so interpolation waits until all are merged.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    return FineTuningCLI(
        ExpertFineTuner,
        TaskDataModule,
        subclass_mode_data=True,
        trainer_class=FineTuningTrainer,
        trainer_defaults=TRAINER_DEFAULTS,
        seed_everything_default=SEED,
        parser_class=SuggestingParser,
        parser_kwargs={"parser_mode": "omegaconf+"},
        save_config_callback=RunConfig,
        auto_configure_optimizers=False,
        args=None if args is None else list(args),
        run=run,
    )


def run(arguments: Sequence[str]) -> int:
    """Run a verb.

    Args:
        arguments: The verb and its options.

    Returns:
        The exit code.

    Raises:
        UserError: For what a user can mend; the entry says it in one line.
    """
    sys.argv = ["python -m esft_lightning", *arguments]
    try:
        with shown_log():
            make_cli()
    except RuntimeError as error:
        if not str(error).startswith("Early stopping conditioned on metric"):
            raise
        raise SettingError(one_line(error)) from error  # known only after the first validation
    return 0
