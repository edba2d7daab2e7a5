"""What one run is: everything that decides its result, with a hash, and a readable folder. Plain data; runs nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from esft_lightning.data.settings import idle_settings
from esft_lightning.errors import SettingError

BASE = "base"
"""The strategy name of a run that trains nothing: the base model, evaluated."""

TRAINING_SETTINGS = frozenset({
    "val_files", "general_source", "general_ratio", "general_files", "general_hub_id", "general_hub_split",
    "general_column_mapping", "sequence_length", "batch_size", "val_batch_size", "random_concat_ratio", "on_overflow",
    "cross_sample_attention", "padding_free", "val_fraction", "seed", "profile_seed", "profile_sequences",
    "on_long_sample", "num_workers", "cache_dir",
})  # fmt: skip
"""The DataModule settings that decide nothing of what `test` asks. A base run keeps all others, so that the base is
asked exactly as the tuned models are; a setting that is not known here is kept."""


@dataclass(frozen=True)
class RunSpec:
    """One run: a base model, a task, a strategy and a seed, and how long it trains.

    Attributes:
        task: Task, one of `esft_lightning.tasks.TASKS`.
        strategy: `base`, a strategy of `esft_lightning.strategies`, or the class path of your own.
        strategy_args: Its arguments.
        seed: Decides the order of the batches, the rows set aside for validation, and every random start. The training
            and test rows themselves are the same for all seeds.
        base: The base model: `tiny`, a local folder, or a hub id.
        steps: Optimizer steps.
        learning_rate_scale: Multiplies the strategy's learning rate.
        profile_tokens: Tokens that the profiling pass counts.
        data: Further arguments of the task's DataModule (`batch_size`, `sequence_length`, `test_rows`, …).
        model: Further arguments of `ExpertFineTuner` (`dtype`, `max_new_tokens`, `general_limit`, …).
        also_test: Other tasks whose test rows are asked too, before and after.
        accumulate: Batches of an optimizer step, one after another: the same step in less memory.
        validate_every: Steps between validations, of which the best weights are kept: those with the highest score
            where `validation_answers` is set, else with the lowest loss; 0 validates twice and keeps the last weights.
        validation_answers: Validation rows that are answered and scored at every validation; 0 measures the loss alone.
        patience: Validations in a row without a lower loss after which training ends, before `steps`; 0 for never.
        min_delta: How much lower a loss must be to count for `patience`, nats per labelled token.
        label: Name in tables and folders; by default the strategy's. Not part of the hash.
    """

    task: str
    strategy: str = BASE
    strategy_args: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    base: str = "tiny"
    steps: int = 0
    learning_rate_scale: float = 1.0
    profile_tokens: int = 2**17
    data: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    also_test: tuple[str, ...] = ()
    accumulate: int = 1
    validate_every: int = 0
    validation_answers: int = 0
    patience: int = 0
    min_delta: float = 0.0
    label: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked without loading anything.

        Raises:
            ValueError: A run that trains without a step, patience without validations, min_delta without patience, or
                settings that JSON cannot hold.
        """
        if not self.is_base and self.steps < 1:
            raise SettingError(
                f"{self.task}/{self.strategy}: steps is {self.steps}; a run that trains needs at least 1"
            )
        if self.validation_answers < 0:
            raise SettingError(
                f"{self.task}/{self.strategy}: validation_answers is {self.validation_answers}; expected at least 0"
            )
        if self.min_delta < 0 or (self.min_delta and not self.patience):
            name = f"{self.task}/{self.strategy}"
            raise SettingError(f"{name}: min_delta is {self.min_delta:g}; expected at least 0, and patience with it")
        if self.patience and not self.validate_every:
            raise SettingError(
                f"{self.task}/{self.strategy}: patience is {self.patience}, and validate_every is not set"
            )
        for name in ("strategy_args", "data", "model"):
            try:
                plain = json.loads(json.dumps(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise SettingError(f"{self.task}/{self.strategy}: {name} holds what JSON cannot: {error}") from error
            object.__setattr__(self, name, plain)
        object.__setattr__(self, "also_test", tuple(self.also_test))

    @property
    def is_base(self) -> bool:
        """Whether this run only evaluates the base model."""
        return self.strategy == BASE

    @property
    def name(self) -> str:
        """What tables call it: the label, or the strategy's class name."""
        return self.label or self.strategy.rpartition(".")[2]

    @property
    def content_hash(self) -> str:
        """12 hexadecimal digits over everything but the label; the same on every machine and in every process."""
        content = {key: value for key, value in asdict(self).items() if key != "label"}
        for name, plain in (
            ("also_test", ()),
            ("accumulate", 1),
            ("validate_every", 0),
            ("validation_answers", 0),
            ("patience", 0),
            ("min_delta", 0.0),
        ):  # absent means plain, as before there was the setting
            if content[name] == plain:
                del content[name]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Where the run lies below the comparison's root, such as `law/esft_gate/seed0`."""
        return Path(_slug(self.task)) / _slug(self.name) / f"seed{self.seed}"

    def base_run(self) -> RunSpec:
        """The run that measures this run's base model before training.

        It keeps what decides the evaluation and nothing else, so all strategies and seeds of a task share one. What was
        read for training alone (the seed of embedded general rows, a mapping of `val_files`) goes with what read it.
        """
        data = {key: value for key, value in self.data.items() if key not in TRAINING_SETTINGS}
        idle = idle_settings(data) - idle_settings(self.data)
        data = {key: value for key, value in data.items() if key not in idle}
        return RunSpec(self.task, base=self.base, data=data, model=self.model, also_test=self.also_test)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """What `to_dict` gave.

        Raises:
            ValueError: A key that no spec has.
        """
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SettingError(f"run spec: unknown keys {unknown}; expected some of {sorted(known)}")
        return cls(**values)

    def with_changes(self, **changes: Any) -> RunSpec:
        """A copy with some fields changed."""
        return replace(self, **changes)


def _slug(name: str) -> str:
    """A folder name: `ESFTGate` → `esft_gate`, `LoRA` → `lora`, `ESFT-Gate p=0.1` → `esft_gate_p_0.1`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z]{2,})", "_", name)
    return re.sub(r"[^a-z0-9.]+", "_", words.lower()).strip("_.") or "run"
