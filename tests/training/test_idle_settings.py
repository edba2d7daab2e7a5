"""Settings of the module that nothing would read, and numbers that cannot be, are refused when it is made."""

from typing import Any

import pytest

from esft_lightning.errors import SettingError
from esft_lightning.strategies import LoRA
from esft_lightning.training.module import ExpertFineTuner


@pytest.mark.parametrize(
    ("name", "value", "other", "needed"),
    [
        ("offload_folder", "x", "device_map", "auto"),
        ("expert_group_source", "rows.jsonl", "expert_group_size", 2),
        ("expert_group_tokens", 5, "expert_group_size", 2),
        ("force_adapter", True, "adapter", "folder"),
    ],
)
def test_a_setting_without_the_one_that_it_is_read_with(name: str, value: Any, other: str, needed: Any) -> None:
    with pytest.raises(SettingError, match=f"{name} has no effect without {other}"):
        ExpertFineTuner(LoRA(), **{name: value})
    module = ExpertFineTuner(LoRA(), **{name: value, other: needed})
    assert module.hparams[name] == value


@pytest.mark.parametrize("name", ["max_new_tokens", "general_limit", "expert_group_size"])
def test_numbers_below_one(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be at least 1, got 0"):
        ExpertFineTuner(LoRA(), **{name: 0})
    assert ExpertFineTuner(LoRA(), **{name: 1}).hparams[name] == 1
