"""The optimizer's and the schedule's settings over a resume: what changed takes effect, or is refused by name.

Restoring an optimizer or a schedule brings back the settings that it was saved with, in silence. So a checkpoint also
holds how both were when they had just been made; what differs in the resumed run was changed by its user.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from esft_lightning.training.hyper_parameters import plain
from esft_lightning.training.resuming.settings import CheckpointError

_RATES = ("lr", "initial_lr")


def construction(trainer: Trainer) -> dict[str, Any]:
    """Settings of the optimizer and the schedule that have just been made, as plain data.

    Args:
        trainer: Before its first step, and before anything is restored.
    """
    return {
        "groups": [
            {name: plain(value) for name, value in group.items() if name != "params"}
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
        ],
        "schedules": [
            {"class": type(config.scheduler).__name__, **plain(config.scheduler.state_dict())}
            for config in trainer.lr_scheduler_configs
        ],
    }


def keep_new_settings(trainer: Trainer, then: Mapping[str, Any]) -> None:
    """Let this run's optimizer settings hold over those that are about to be restored; refuse another schedule.

    A changed rate scales the rate that the schedule had come to.

    Args:
        trainer: Its optimizer made, not yet restored.
        then: The checkpoint's `construction`.

    Raises:
        CheckpointError: If the schedule is another one, naming what differs.
    """
    now = construction(trainer)
    _refuse_other_schedule(then["schedules"], now["schedules"])
    if len(then["groups"]) != len(now["groups"]):
        return  # torch refuses these itself
    pairs = dict.fromkeys(
        change for old, new in zip(then["groups"], now["groups"], strict=True) for change in _changes(old, new)
    )
    if pairs:
        rank_zero_info(f"resumed with other settings of the optimizer: {'; '.join(pairs)}")
    before = iter(then["groups"])
    for optimizer in trainer.optimizers:
        old = [next(before) for _ in optimizer.param_groups]
        optimizer.register_load_state_dict_pre_hook(
            lambda restored, state, old=old: {
                **state,
                "param_groups": [
                    _merged(saved, group, made)
                    for saved, group, made in zip(state["param_groups"], restored.param_groups, old, strict=True)
                ],
            }
        )


def settle_schedules(trainer: Trainer, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Scale the rates that restored schedules start from, where the rate was changed.

    Args:
        trainer: With everything restored.
        then: The checkpoint's `construction`.
        now: This run's.
    """
    factors = [_factor(old, new) for old, new in zip(then["groups"], now["groups"], strict=True)]
    if all(factor == 1 for factor in factors):
        return
    for config in trainer.lr_scheduler_configs:
        for schedule in _nested(config.scheduler):
            for name in ("base_lrs", "_last_lr"):
                if rates := getattr(schedule, name, None):
                    setattr(schedule, name, [rate * factor for rate, factor in zip(rates, factors, strict=True)])


def _merged(saved: Mapping[str, Any], group: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """A restored group of parameters: the saved one, with the settings that this run has changed."""
    merged = dict(saved)
    for name, value in group.items():
        if name not in (*_RATES, "params") and plain(value) != made.get(name):
            merged[name] = value
    factor = _factor(made, group)
    if factor != 1:
        merged |= {name: saved[name] * factor for name in _RATES if name in saved}
    return merged


def _factor(then: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    old, new = _rate(then), _rate(now)
    return 1.0 if old == new or not old else new / old


def _rate(group: Mapping[str, Any]) -> float:
    """The rate that was set, whatever a schedule makes of it."""
    return float(group.get("initial_lr", group["lr"]))


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changed = [f"lr {_rate(then):g} → {_rate(now):g}"] if _rate(then) != _rate(now) else []
    return changed + [
        f"{name} {then[name]} → {value}"
        for name, value in now.items()
        if name in then and name not in _RATES and then[name] != value
    ]


def _refuse_other_schedule(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
    named = [[entry["class"] for entry in side] for side in (then, now)]
    if named[0] != named[1]:
        was, is_now = (" and ".join(names) or "none" for names in named)
        raise CheckpointError(
            f"model.lr_scheduler was {was} in the checkpoint and is {is_now}; a schedule cannot be exchanged in the "
            "middle: resume with the checkpoint's, or start anew from an adapter"
        )
    changed = [text for old, new in zip(then, now, strict=True) for text in _setting_changes(old, new, "")]
    if changed:
        raise CheckpointError(
            f"the checkpoint's schedule has other settings: {'; '.join(changed[:4])}; resume with the checkpoint's"
        )


def _setting_changes(then: Any, now: Any, path: str) -> Iterator[str]:
    """What differs in two schedules that have just been made, but for rates, which a user may change."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in sorted(then.keys() & now.keys() - {"base_lrs", "_last_lr"}):
            yield from _setting_changes(then[name], now[name], f"{path}.{name}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from _setting_changes(old, new, f"{path}.{number}")
    elif then != now:
        yield f"model.lr_scheduler{path} was {then!r} and is {now!r}"


def _nested(schedule: Any) -> Iterator[Any]:
    yield schedule
    for inner in getattr(schedule, "_schedulers", ()):
        yield from _nested(inner)
