"""Which runs a comparison has: tasks × (base and strategies) × seeds, alike in everything but what is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esft_lightning.comparison.run_spec import BASE, RunSpec
from esft_lightning.embedded import is_embedded
from esft_lightning.errors import SettingError
from esft_lightning.nearest import unknown
from esft_lightning.strategies.learning_rate import scale_of
from esft_lightning.tasks import TASKS

DEFAULT_TASKS = ("math", "law")
"""One enhancement task and one adaptation task."""
DEFAULT_STRATEGIES = ("FullFineTuning", "LoRA", "FrozenExperts", "ESFTGate", "ESFTToken", "RandomExperts")
STRATEGIES = (*DEFAULT_STRATEGIES, "RelevantExpertLoRA", "ESFT")
"""Every strategy that has a name; a comparison takes the first six unless told otherwise."""

# The tiny model's settings, as in configs/models/tiny.yaml (a test holds them together), so that `fit` and `compare`
# train alike. The scales were searched for runs of 150 steps.
TINY_MODEL: Mapping[str, Any] = {
    "dtype": "float32",
    "learning_rate_scale": {
        "default": 300.0,
        "FullFineTuning": 10.0,
        "LoRA": 30.0,
        "FrozenExperts": 30.0,
        "RelevantExpertLoRA": 30.0,
    },
}
TINY_DATA: Mapping[str, Any] = {
    "sequence_length": 512,
    "batch_size": 2,
    "on_overflow": "next_row",
    "cross_sample_attention": False,
}


@dataclass(frozen=True)
class Effort:
    """How long the runs of a grid train and how much they are asked afterwards.

    Attributes:
        steps: Optimizer steps of each run.
        test_rows: Evaluation rows of a task; None takes the task's own number.
        general_rows: Rows of each general probe; None takes all.
        profile_tokens: Tokens of the profiling pass.
        data: Further arguments of the DataModules.
        accumulate: Batches of an optimizer step.
        validate_every: Steps between validations, of which the best weights are kept; 0 keeps the last.
        validation_answers: Validation rows that are answered and scored at every validation.
        patience: Validations without a lower loss after which training ends; 0 for never.
        min_delta: How much lower it must be, nats per labelled token.
    """

    steps: int
    test_rows: int | None
    general_rows: int | None
    profile_tokens: int
    data: Mapping[str, Any] = field(default_factory=dict)
    accumulate: int = 1
    validate_every: int = 0
    patience: int = 0
    min_delta: float = 0.0
    validation_answers: int = 0


DEFAULT_EFFORT = Effort(steps=150, test_rows=100, general_rows=40, profile_tokens=2**15, data=TINY_DATA)
QUICK_EFFORT = Effort(steps=40, test_rows=32, general_rows=16, profile_tokens=2**13, data=TINY_DATA)


def build_grid(
    tasks: Sequence[str] = DEFAULT_TASKS,
    strategies: Sequence[str] = DEFAULT_STRATEGIES,
    seeds: Sequence[int] = (0,),
    *,
    base: str = "tiny",
    effort: Effort = DEFAULT_EFFORT,
    learning_rate_scale: float | None = None,
    model: Mapping[str, Any] | None = None,
) -> list[RunSpec]:
    """The specs of a comparison, in the order in which they are run: by task, the base first, then by seed.

    Args:
        tasks: Names of tasks.
        strategies: Names of strategies or class paths; `base` is always there and need not be named.
        seeds: Seeds of the runs that train; the base has nothing that depends on one.
        base: The base model.
        effort: Steps and rows.
        learning_rate_scale: Multiplies every strategy's learning rate; None takes the base's own (`base_settings`).
        model: Further arguments of `ExpertFineTuner`.

    Returns:
        One base run per task, and a run per strategy and seed.

    Raises:
        ValueError: An unknown task or strategy, with the nearest known one.
    """
    settings = base_settings(base)
    scale = settings.pop("learning_rate_scale")
    scale = scale if learning_rate_scale is None else learning_rate_scale
    model_settings = {"general_limit": effort.general_rows, **settings, **(model or {})}
    data = {"test_rows": effort.test_rows, **effort.data}
    specs = []
    for task in tasks:
        check_name(task, TASKS, "task")
        runs = [
            RunSpec(
                task=task,
                strategy=strategy,
                strategy_args={"seed": seed} if strategy == "RandomExperts" else {},
                seed=seed,
                base=base,
                steps=effort.steps,
                learning_rate_scale=scale_of(strategy.rpartition(".")[2], scale),
                profile_tokens=effort.profile_tokens,
                data=data,
                model=model_settings,
                accumulate=effort.accumulate,
                validate_every=effort.validate_every,
                patience=effort.patience,
                min_delta=effort.min_delta,
                validation_answers=effort.validation_answers,
            )
            for seed in seeds
            for strategy in strategies
            if strategy != BASE
        ]
        for strategy in strategies:
            check_strategy(strategy)
        base_run = runs[0].base_run() if runs else RunSpec(task, base=base, data=data, model=model_settings).base_run()
        specs += [base_run, *runs]
    return specs


def base_settings(base: str) -> dict[str, Any]:
    """Arguments of `ExpertFineTuner` that belong to a base model; any but the embedded ones gets the paper's rates."""
    return dict(TINY_MODEL) if is_embedded(base) else {"learning_rate_scale": 1.0}


def check_strategy(name: str) -> None:
    """Refuse a strategy that cannot be.

    Raises:
        ValueError: Not a known name, or a class path that leads to no strategy.
    """
    if "." not in name:
        check_name(name, (*STRATEGIES, BASE), "strategy")
        return
    from esft_lightning.strategies.strategy_class import strategy_class

    strategy_class(name)


def check_name(name: str, known: Sequence[str], what: str) -> None:
    """Refuse an unknown name.

    Raises:
        SettingError: With the nearest known name, and all of them.
    """
    if name in known:
        return
    raise SettingError(unknown(what, name, known))
