"""How a model scales the strategies' learning rates. Plain arithmetic; needs no torch."""

import difflib
import math
from collections.abc import Mapping, Sequence

from esft_lightning.errors import SettingError

DEFAULT = "default"


def scale_of(strategy: str, scale: float | Mapping[str, float]) -> float:
    """The factor on a strategy's learning rate.

    Args:
        strategy: The strategy's class name.
        scale: One factor for all, or factors by class name, with `default` for those not named.

    Returns:
        The factor.

    Raises:
        SettingError: If the factor is no positive number, or a mapping has none for the strategy.
    """
    factor = _factor_in(scale, strategy) if isinstance(scale, Mapping) else scale
    if not (factor > 0 and math.isfinite(factor)):
        raise SettingError(f"learning_rate_scale of {strategy} is {factor}; expected a number above 0")
    return float(factor)


def _factor_in(scales: Mapping[str, float], strategy: str) -> float:
    if strategy in scales:
        return scales[strategy]
    # Another strategy's name is no slip of the pen; one that almost is this strategy's would be without effect.
    if near := difflib.get_close_matches(strategy, scales, n=1, cutoff=0.8):
        raise SettingError(f"learning_rate_scale names {near[0]!r}, and the strategy is {strategy!r}; write that")
    if DEFAULT not in scales:
        raise SettingError(
            f"learning_rate_scale has a factor for {', '.join(scales) or 'nothing'}, and none for {strategy}; add it, "
            f"or {DEFAULT!r} for all that are not named"
        )
    return scales[DEFAULT]


def check_optimizer(betas: Sequence[float], weight_decay: float) -> None:
    """Refuse numbers that AdamW cannot take, before anything is loaded.

    Args:
        betas: Moment decay rates.
        weight_decay: Weight decay.

    Raises:
        SettingError: If a rate is outside [0, 1), or the decay is below 0.
    """
    if not all(0 <= beta < 1 for beta in betas):
        raise SettingError(f"betas must lie in [0, 1), got {list(betas)}")
    if not (weight_decay >= 0 and math.isfinite(weight_decay)):
        raise SettingError(f"weight_decay must be at least 0, got {weight_decay}")
