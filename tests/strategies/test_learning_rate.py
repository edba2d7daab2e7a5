"""A model's scale reaches the strategy that it is for; a slip of the pen is not a factor of 1."""

import math
import re

import pytest

from esft_lightning.errors import SettingError
from esft_lightning.strategies.learning_rate import check_optimizer, scale_of


@pytest.mark.parametrize(
    ("scale", "factor"),
    [
        (300, 300.0),
        ({"ESFTGate": 5}, 5.0),
        ({"LoRA": 3, "default": 7}, 7.0),
        ({"ESFTToken": 3, "ESFT": 4, "default": 7}, 7.0),  # other strategies', however alike
    ],
)
def test_the_factor_of_a_strategy(scale: float | dict[str, float], factor: float) -> None:
    assert scale_of("ESFTGate", scale) == factor


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (0, "learning_rate_scale of ESFTGate is 0; expected a number above 0"),
        (math.nan, "is nan"),
        (math.inf, "is inf"),
        ({"ESFTGate": -1}, "is -1"),
        ({"ESFTGte": 5, "default": 300}, "names 'ESFTGte', and the strategy is 'ESFTGate'"),
        ({"ESFTgate": 5}, "names 'ESFTgate', and the strategy is 'ESFTGate'"),
        ({"LoRA": 5, "ESFTToken": 2}, "has a factor for LoRA, ESFTToken, and none for ESFTGate; add it, or 'default'"),
        ({}, "has a factor for nothing, and none for ESFTGate"),
    ],
)
def test_a_scale_that_would_not_be_meant_is_refused(scale: float | dict[str, float], said: str) -> None:
    with pytest.raises(SettingError, match=re.escape(said)):
        scale_of("ESFTGate", scale)


@pytest.mark.parametrize("decay", [-1, math.nan, math.inf])
def test_a_weight_decay_that_cannot_be_is_refused(decay: float) -> None:
    check_optimizer((0.9, 0.95), 0.1)
    with pytest.raises(SettingError, match="weight_decay must be at least 0"):
        check_optimizer((0.9, 0.95), decay)
