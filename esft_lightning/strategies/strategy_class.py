"""From a strategy's name to its class. Loads torch."""

from __future__ import annotations

from importlib import import_module

from esft_lightning.errors import SettingError


def strategy_class(name: str) -> type:
    """The class of a strategy.

    Args:
        name: A name of `esft_lightning.strategies`, or a class path such as `my_package.NormsOnly`.

    Returns:
        A subclass of `FineTuningStrategy`.

    Raises:
        ValueError: It cannot be imported, or is no strategy.
    """
    from esft_lightning import strategies

    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module) if module else strategies, attribute)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"strategy {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, strategies.FineTuningStrategy)):
        raise SettingError(
            f"strategy {name!r} is no FineTuningStrategy; see esft_lightning.strategies.FineTuningStrategy"
        )
    return found
