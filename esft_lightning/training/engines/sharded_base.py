"""Data parallel training whose frozen weights are sharded over the processes (FSDP2).

Most of what expert-specialized fine-tuning holds is the frozen base. FSDP2 keeps a shard of it on every device and
gathers one layer at a time, in forward and in backward. What is trained is small: it stays whole on every device, so
that adapters, checkpoints and the optimizer are those of a single device, and its gradients are averaged once per step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from esft_lightning.moe import find_decoder, find_moe_layers


class ShardedBaseStrategy(DDPStrategy):
    """One process per device, each with its own rows, a shard of what is frozen, and all of what is trained.

    Selected experts must be known before the weights are sharded: from a profile that `profile` made beforehand, or
    from an `expert_config`. Every process reads the base before it is sharded, into the host's memory.

    Example:
        trainer.strategy: sharded_base
        trainer.devices: 8
    """

    _synchronise = True

    def setup(self, trainer: Trainer) -> None:
        """Shard, and make the optimizer over what is trained.

        Raises:
            MisconfigurationException: For test and predict: processes that generate answers of different lengths would
                wait for each other's shards.
        """
        assert self.accelerator is not None
        if trainer.state.fn in ("test", "predict"):
            raise MisconfigurationException(
                f"ShardedBaseStrategy trains and validates; `{trainer.state.fn}` with one process "
                "(trainer.strategy=auto, or split_layers for models larger than a device)"
            )
        self.accelerator.setup(trainer)
        self.model_to_device()
        if trainer.state.fn == "fit":
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def model_to_device(self) -> None:
        """Shard what is frozen on the way to the device, a layer at a time, and take the rest there as it is."""
        shard_frozen(self.lightning_module.model, self.root_device, self.world_size)  # type: ignore[union-attr]
        self.lightning_module.to(self.root_device)  # type: ignore[union-attr]

    def configure_ddp(self) -> None:
        """No wrapper: gradients of what is trained are averaged after backward."""

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Leave gradients local, for all micro-batches of a step but the last."""
        self._synchronise = False
        try:
            yield
        finally:
            self._synchronise = True

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average the gradients over the processes, as DDP does."""
        if self._synchronise:
            average_gradients(self.lightning_module)  # type: ignore[arg-type]

    def teardown(self) -> None:
        """Leave the shards where they are: a sharded model cannot be moved as a whole."""
        assert self.cluster_environment is not None and self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()


def shard_frozen(model: Any, device: torch.device, world_size: int) -> None:
    """Shard the frozen parameters of a model's decoder over all processes, in place; one unit per layer.

    Args:
        model: A Transformers MoE model with what is trained already in it.
        device: This process's device; each layer is moved there and sharded before the next.
        world_size: Number of processes.

    Raises:
        MisconfigurationException: If nothing in the decoder's layers is frozen.
    """
    decoder = find_decoder(model)
    first = find_moe_layers(model)[0]
    stack = model.get_submodule(first.name.split(f".{first.layer}.")[0])
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    if not any(not parameter.requires_grad for parameter in stack.parameters()):
        raise MisconfigurationException(
            f"ShardedBaseStrategy shards frozen weights, and everything in {type(model).__name__}'s layers is trained; "
            "use Lightning's own FSDP for full fine-tuning, or choose a strategy that trains less"
        )
    mesh = init_device_mesh(device.type, (world_size,))
    for unit in (*stack, decoder):
        fully_shard(unit, mesh=mesh, ignored_params=trained)


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of the whole (not sharded) parameters over all processes, in place.

    Args:
        module: What is trained; a parameter without a gradient has none on any process.
    """
    world = torch.distributed.get_world_size()
    waiting = []
    for parameter in module.parameters():
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            parameter.grad.div_(world)
            waiting.append(torch.distributed.all_reduce(parameter.grad, async_op=True))
    for work in waiting:
        if work is not None:
            work.wait()


StrategyRegistry.register(
    "sharded_base", ShardedBaseStrategy, description=(ShardedBaseStrategy.__doc__ or "").split("\n")[0]
)
