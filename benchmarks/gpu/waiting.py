"""What makes the host wait for the device: nothing in a training step that is not logged."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from benchmarks.gpu.models import checked_shape, drawn_shape, some_experts
from benchmarks.gpu.part import Context
from benchmarks.gpu.waits import device_waits
from benchmarks.shapes import make_batch
from esft_lightning.affinity import ExpertSelection
from esft_lightning.data.host_side import known_on_host
from esft_lightning.moe import SYNC_FREE, find_moe_layers, install_banks, waits_for_each_product
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.two_bank import IMPLEMENTATION
from esft_lightning.strategies import ESFT, LoRA
from esft_lightning.tasks import IntentDataModule
from esft_lightning.training.module import ExpertFineTuner


def check_waits(context: Context) -> None:
    """Forward and backward of bf16 experts by both forwards; steps of `fit` between logs."""
    model = drawn_shape(checked_shape(context), torch.bfloat16, context.device)
    install_banks(model, {1: some_experts(context.scale.experts)})
    loss = LabelledTokenLoss(model)
    batch: Any = known_on_host(make_batch(checked_shape(context)), pin=context.on_gpu)
    batch = {name: value.to(context.device) if torch.is_tensor(value) else value for name, value in batch.items()}
    loops = context.on_gpu and waits_for_each_product(model)
    if not context.on_gpu:
        context.outcome.facts["on a CPU"] = (
            "operators stand in that would wait; bf16 experts that this CPU widens one at a time are not looked at"
        )
    for label, implementation in (("two banks, sync-free", SYNC_FREE), ("two banks", IMPLEMENTATION)):
        model.set_experts_implementation(implementation)
        loss(batch).total.backward()  # what is made once is made
        with device_waits(context.device, refused=False) as forward:
            total = loss(batch).total
        with device_waits(context.device, refused=False) as backward:
            total.backward()
        context.outcome.facts[f"waits, {label}"] = f"{len(forward)} forward, {len(backward)} backward"
        if implementation == SYNC_FREE and _experts_are_looked_at(context, loops):
            context.outcome.true(f"{label}: forward waits for nothing", not forward, "; ".join(forward[:3]))
            context.outcome.true(f"{label}: backward waits for nothing", not backward, "; ".join(backward[:3]))
        elif implementation == SYNC_FREE:
            context.outcome.skipped(f"{label}: no wait", "the products of bf16 experts are loops on this device")
    context.save()
    for strategy in (ESFT, LoRA):
        _check_fit(context, strategy, loops)


def _experts_are_looked_at(context: Context, loops: bool) -> bool:
    from esft_lightning.moe.widened_arithmetic import arithmetic_dtype

    return not loops and arithmetic_dtype(torch.bfloat16, context.device) == torch.bfloat16


class _Watch(Callback):
    """Notes waits in batches whose step the Trainer does not log, the first left out."""

    def __init__(self, device: torch.device, every: int) -> None:
        self.device, self.every, self.batches = device, every, 0
        self.waits: list[str] = []
        self._open, self._now = ExitStack(), []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step and (trainer.global_step + 1) % self.every:
            self.batches += 1
            self._now = self._open.enter_context(device_waits(self.device, refused=False))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._open.close()
        self.waits += self._now
        self._now = []


def _check_fit(context: Context, strategy: Any, loops: bool) -> None:
    """The embedded base in bf16 (fp32 on a CPU, which widens bf16), a few steps of `fit`."""
    folder = Path(context.folder)
    dtype = "bfloat16" if context.on_gpu else "float32"
    module = ExpertFineTuner(_made(strategy, folder), dtype=dtype, sync_free_experts=strategy is ESFT)
    watch = _Watch(context.device, 4)
    trainer = Trainer(
        default_root_dir=folder, accelerator=context.accelerator, devices=1, logger=False, max_steps=6, max_epochs=-1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        num_sanity_val_steps=0, gradient_clip_val=1.0, log_every_n_steps=4, callbacks=[watch],
    )  # fmt: skip
    trainer.fit(module, datamodule=embedded_rows())
    what = f"steps of fit between logs, {strategy.__name__}, {dtype}"
    if loops:
        context.outcome.skipped(what, "the products of bf16 experts are loops on this device")
    else:
        found = f"{len(watch.waits)} waits in {watch.batches} batches" + "".join(f"; {w}" for w in watch.waits[:3])
        context.outcome.true(what, watch.batches >= 4 and not watch.waits, found)


def _made(strategy: Any, folder: Path) -> Any:
    if strategy is not ESFT:
        return strategy()
    from esft_lightning.moe import load_model

    experts = {entry.layer: some_experts(entry.num_experts) for entry in find_moe_layers(load_model("tiny"))}
    ExpertSelection(experts).save(folder / "expert_cfg.json")
    return ESFT(expert_config=folder / "expert_cfg.json")


def embedded_rows(**changes: Any) -> IntentDataModule:
    """A few embedded rows."""
    settings: dict[str, Any] = {
        "train_rows": 120, "val_rows": 8, "sequence_length": 128, "batch_size": 2, "cache_dir": None,
    }  # fmt: skip
    return IntentDataModule(**(settings | changes))
