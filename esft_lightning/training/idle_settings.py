"""Settings of a model that cannot be, or that another one makes idle: refused, as those of the data are. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Signature
from typing import Any

from esft_lightning.errors import SettingError

_READ_WITH = {
    "offload_folder": "device_map",
    "expert_group_source": "expert_group_size",
    "expert_group_tokens": "expert_group_size",
    "force_adapter": "adapter",
}
_AT_LEAST_ONE = ("expert_group_size", "expert_group_tokens", "max_new_tokens", "general_limit")


def check_model_settings(settings: Mapping[str, Any], constructor: Signature) -> None:
    """Refuse what nothing would read, and numbers that cannot be.

    Args:
        settings: A module's settings by name.
        constructor: Whose defaults they have where nobody sets them.

    Raises:
        SettingError: Naming the setting, and what it needs.
    """
    for name, other in _READ_WITH.items():
        if settings[name] != constructor.parameters[name].default and settings[other] is None:
            raise SettingError(f"{name} has no effect without {other}; set that, or leave it out")
    for name in _AT_LEAST_ONE:
        if settings[name] is not None and settings[name] < 1:
            raise SettingError(f"{name} must be at least 1, got {settings[name]}")
