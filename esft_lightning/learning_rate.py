"""How a model scales the strategies' learning rates. Plain arithmetic; needs no torch."""

from collections.abc import Mapping, Sequence

from esft_lightning.errors import SettingError

DEFAULT = "default"


def scale_of(strategy: str, scale: float | Mapping[str, float]) -> float:
    """The factor on a strategy's learning rate.

    Args:
        strategy: The strategy's class name.
        scale: One factor for all, or factors by class name, with `default` for those not named (1 where it is absent).

    Returns:
        The factor.

    Raises:
        ValueError: If the factor is not positive.
    """
    factor = scale.get(strategy, scale.get(DEFAULT, 1.0)) if isinstance(scale, Mapping) else scale
    if not factor > 0:
        raise SettingError(f"learning_rate_scale of {strategy} is {factor}; expected a number above 0")
    return float(factor)


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
    if weight_decay < 0:
        raise SettingError(f"weight_decay must be at least 0, got {weight_decay}")
