"""What a training experiment trains: rows (a strategy and its settings) × tasks × seeds, read from its YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from esft_lightning.comparison import RunSpec, build_grid
from esft_lightning.comparison.grid import Effort
from esft_lightning.errors import SettingError
from experiments.settings import as_settings, load_preset

VANILLA = "base"
"""The label of the untrained base model, which every experiment has."""


@dataclass(frozen=True)
class Row:
    """One row of an experiment's table: what is trained, and where it departs from the experiment's own settings.

    Attributes:
        strategy: A strategy's name or class path.
        args: Its arguments.
        steps: Optimizer steps; None takes the experiment's.
        validate_every: Steps between validations; None takes the experiment's.
        patience: Validations without a lower loss; None takes the experiment's.
        min_delta: How much lower it must be; None takes the experiment's.
        seeds: Number of seeds; None takes the experiment's.
        tasks: Tasks; None takes the experiment's.
        model: Further arguments of `ExpertFineTuner`.
        data: Further arguments of the DataModule.
        base: The model; None takes the experiment's.
    """

    strategy: str
    args: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    validate_every: int | None = None
    patience: int | None = None
    min_delta: float | None = None
    seeds: int | None = None
    tasks: Sequence[str] | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """The grid of an experiment.

    Attributes:
        base: The model: `tiny`, a folder or a hub id.
        tasks: Task names.
        rows: Label → what is trained.
        steps: Optimizer steps.
        test_rows: Evaluation rows of a task; None for all.
        general_rows: Rows of each general probe; None for all.
        profile_tokens: Tokens that the profiling pass counts.
        seeds: Number of seeds, from 0.
        accumulate: Batches of an optimizer step.
        validate_every: Steps between validations, of which the best weights are kept; 0 keeps the last.
        validation_answers: Validation rows that are answered and scored at every validation; weights, rate and length
            are then chosen by that score, else by the validation loss.
        patience: Validations without a lower loss after which training ends; 0 for never.
        min_delta: How much lower it must be, nats per labelled token.
        learning_rate_scale: Factor on every strategy's rate; None takes the base's own.
        also_test: Trained task → other tasks that are asked, too.
        model: Further arguments of `ExpertFineTuner`.
        data: Further arguments of the DataModules.
        task_data: Task → arguments of its own DataModule.
    """

    base: str
    tasks: Sequence[str]
    rows: Mapping[str, Row]
    steps: int
    test_rows: int | None
    general_rows: int | None
    profile_tokens: int
    seeds: int = 1
    accumulate: int = 1
    validate_every: int = 0
    validation_answers: int = 0
    patience: int = 0
    min_delta: float = 0.0
    learning_rate_scale: float | None = None
    also_test: Mapping[str, Sequence[str]] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    task_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be checked without a model.

        Raises:
            ValueError: No task, no row, or no seed.
        """
        if not self.tasks or not self.rows or self.seeds < 1:
            raise SettingError(
                f"{len(self.tasks)} tasks, {len(self.rows)} rows, {self.seeds} seeds: expected at least 1 of each"
            )

    def specs(self) -> dict[str, list[RunSpec]]:
        """Label → the runs behind it, the base first; in each, tasks in their order, then seeds.

        A run is what `compare` would make of the same strategy, so that both share it.

        Raises:
            ValueError: An unknown task or strategy.
        """
        found = {
            label: [
                spec
                for task in self.tasks
                if row.tasks is None or task in row.tasks
                for spec in self._runs(label, row, task)
            ]
            for label, row in self.rows.items()
        }
        bases = [spec.base_run() for specs in found.values() for spec in specs]
        return {VANILLA: list({spec.content_hash: spec for spec in bases}.values()), **found}

    def _runs(self, label: str, row: Row, task: str) -> list[RunSpec]:
        data = {**self.data, **self.task_data.get(task, {}), **row.data}
        _, *runs = build_grid(
            [task],
            [row.strategy],
            range(row.seeds or self.seeds),
            base=row.base or self.base,
            effort=Effort(
                row.steps or self.steps,
                self.test_rows,
                self.general_rows,
                self.profile_tokens,
                data,
                self.accumulate,
                self.validate_every if row.validate_every is None else row.validate_every,
                self.patience if row.patience is None else row.patience,
                self.min_delta if row.min_delta is None else row.min_delta,
                self.validation_answers,
            ),
            learning_rate_scale=self.learning_rate_scale,
            model={**self.model, **row.model},
        )
        others = tuple(self.also_test.get(task, ()))
        return [
            run.with_changes(strategy_args={**run.strategy_args, **row.args}, also_test=others, label=label)
            for run in runs
        ]


def read_settings(name: str, preset: str, changes: Mapping[str, Any] | None = None) -> TrainingSettings:
    """An experiment's settings from `configs/experiments/NAME.yaml`.

    Args:
        name: The experiment.
        preset: `tiny` or `paper`.
        changes: Values that take the place of the preset's.

    Raises:
        ValueError: Settings that cannot be; file, preset and key are named.
    """
    place = f"configs/experiments/{name}.yaml, {preset}"
    values = {**load_preset(name, preset), **(changes or {})}
    rows = values.get("rows", {})
    if not isinstance(rows, Mapping):
        raise SettingError(f"{place}: rows is a {type(rows).__name__}; expected label: {{strategy: …}}")
    values["rows"] = {label: _row(entry, f"{place}, rows, {label}") for label, entry in rows.items()}
    return as_settings(TrainingSettings, values, place)


def _row(entry: Any, place: str) -> Row:
    if not isinstance(entry, Mapping):
        raise SettingError(f"{place}: expected a mapping with some of {', '.join(f.name for f in fields(Row))}")
    return as_settings(Row, entry, place)
