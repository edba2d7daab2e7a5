"""One process, a model whose layers lie on several devices, in the host's memory or on disk (`model.device_map`).

Accelerate moves inputs from device to device and fetches what is offloaded; this strategy keeps Lightning from moving
the model as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from esft_lightning.moe import has_offloaded_weights, input_device


class SplitLayersStrategy(SingleDeviceStrategy):
    """Train, test and profile a model that was loaded with a `device_map`; batches go to its first device.

    What is trained lies beside the layer that it belongs to and must not be offloaded. Layers that are offloaded are
    fetched for forward and again for backward, which takes gradient checkpointing.

    Example:
        trainer.strategy: split_layers
        model.device_map: auto
    """

    def setup(self, trainer: Trainer) -> None:
        """Check that what is trained can be.

        Raises:
            MisconfigurationException: If the model was loaded without a `device_map`; if it trains offloaded weights,
                or offloads layers without gradient checkpointing.
        """
        module: Any = self.lightning_module
        if module.device_map is None:
            raise MisconfigurationException(
                "SplitLayersStrategy needs a model that is spread over devices: set model.device_map (auto, or a "
                "mapping from module names to devices), or leave trainer.strategy at auto"
            )
        if trainer.state.fn == "fit" and has_offloaded_weights(module.model):
            weights = module.model.named_parameters()
            trained = [name for name, weight in weights if weight.requires_grad and weight.is_meta]
            if trained:
                raise MisconfigurationException(
                    f"{len(trained)} trained parameters are offloaded, the first is '{trained[0]}'; give their layers "
                    "a device in model.device_map, or choose a strategy that trains selected experts alone"
                )
            if not module.gradient_checkpointing:
                raise MisconfigurationException(
                    "model.device_map offloads layers, and without model.gradient_checkpointing backward would keep "
                    "all of them in memory; set it"
                )
        super().setup(trainer)

    def model_to_device(self) -> None:
        """Leave the model's layers where they are; everything else goes to the device of the embeddings."""
        module: Any = self.lightning_module
        self._root_device = input_device(module.model)
        for name, child in module.named_children():
            if name != "model":
                child.to(self._root_device)
        module._device = self._root_device

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore moments beside their parameters, which lie on several devices."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(state)

    def teardown(self) -> None:
        """Leave the layers where they are."""
        assert self.accelerator is not None
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()


StrategyRegistry.register(
    "split_layers", SplitLayersStrategy, description=(SplitLayersStrategy.__doc__ or "").split("\n")[0]
)
