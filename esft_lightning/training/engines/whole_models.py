"""Which engines hold a model whole on one device, and may move it there."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from esft_lightning.training.engines.sharded_base import ShardedBaseStrategy
from esft_lightning.training.engines.split_layers import SplitLayersStrategy


def keeps_model_whole(strategy: Strategy) -> bool:
    """Whether every process of this engine has the whole model on its own device.

    Args:
        strategy: Lightning's, or one of this package's.
    """
    whole = isinstance(strategy, SingleDeviceStrategy | DDPStrategy)
    return whole and not isinstance(strategy, ShardedBaseStrategy | SplitLayersStrategy)
