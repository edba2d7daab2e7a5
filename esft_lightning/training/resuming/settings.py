"""Settings of a checkpoint against those of the run that loads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from esft_lightning.errors import UserError
from esft_lightning.training.hyper_parameters import strategy_settings

if TYPE_CHECKING:
    from esft_lightning.training.module import ExpertFineTuner

_OF_THE_BASE = (
    "base", "revision", "random_weights", "dtype", "expert_group_size", "expert_group_source", "expert_group_tokens",
)  # fmt: skip
_SHOWN = 4


class CheckpointError(UserError, RuntimeError):
    """A checkpoint does not belong to the run that loads it."""


def settings_record(module: ExpertFineTuner) -> dict[str, Any]:
    """The settings that a checkpoint's weights depend on, as plain data.

    Args:
        module: Its base loaded.
    """
    return {
        "base": module.base,
        "base_fingerprint": module.base_fingerprint,
        "base_settings": {name: module.hparams.get(name) for name in _OF_THE_BASE},
        "dtype": module.base_dtype,
        "quantize_experts": module.quantize_experts,
        "weight_updates": module.weight_updates,
        "strategy": type(module.strategy).__name__,
        "strategy_settings": strategy_settings(module.strategy),
    }


def check_settings(saved: Mapping[str, Any], module: ExpertFineTuner, *, training: bool) -> None:
    """Refuse a checkpoint whose weights mean something else under this run's settings.

    The learning rate may differ, as may everything that decides only how the same is computed.

    Args:
        saved: The `settings_record` in the checkpoint; what an older checkpoint does not hold is not compared.
        module: Its base loaded.
        training: Whether the run goes on training: evaluation may read the base in another dtype.

    Raises:
        CheckpointError: Naming the settings, with both values.
    """
    here = settings_record(module)
    saved = {"weight_updates": "fp32_masters", **saved}  # earlier checkpoints do not say
    if module.adapter is not None:
        raise CheckpointError(
            f"model.adapter={module.adapter} and a checkpoint are both given, and one would replace the other; "
            "leave one of them out"
        )
    for name in ("strategy", "base_fingerprint", "quantize_experts", "weight_updates"):
        if saved.get(name) != here[name]:
            named = differences(saved.get("base_settings", {}), here["base_settings"], "model.")
            why = f" ({'; '.join(named)})" if name == "base_fingerprint" and named else ""
            raise CheckpointError(
                f"the checkpoint's {name} is {saved.get(name)!r} (base {saved['base']!r}), this run's is "
                f"{here[name]!r} (base {module.base!r}){why}; resume with the model and strategy that it was trained "
                "with"
            )
    then, now = saved.get("strategy_settings", {}), here["strategy_settings"]
    changed = differences(then, now, "model.strategy.", but=("learning_rate",))
    if training and saved.get("dtype", here["dtype"]) != here["dtype"]:
        changed.append(f"model.dtype was {saved['dtype']!r} and is {here['dtype']!r}")
    if changed:
        raise CheckpointError(
            f"the checkpoint was trained with other settings: {'; '.join(changed[:_SHOWN])}; "
            "give the checkpoint's values, or start anew without it"
        )


def differences(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str, *, but: Iterable[str] = ()) -> list[str]:
    """Sentences on what differs between two mappings, among the names that both have.

    Args:
        then: The checkpoint's values.
        now: This run's.
        prefix: What stands before a name where a user sets it.
        but: Names that may differ.
    """
    return [
        f"{prefix}{name} was {value!r} and is {now[name]!r}"
        for name, value in then.items()
        if name in now and name not in but and now[name] != value
    ]
