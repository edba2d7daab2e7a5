"""How a model scales the strategies' learning rates. Plain arithmetic; needs no torch."""

from collections.abc import Mapping

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
