"""Training on the device: what is frozen stays, a saved run goes on, autocast computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from benchmarks.gpu.models import checked_shape, drawn_shape, some_experts
from benchmarks.gpu.part import Context
from benchmarks.gpu.waiting import embedded_rows
from benchmarks.shapes import make_batch
from esft_lightning.moe import SYNC_FREE, install_banks
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.two_bank import IMPLEMENTATION
from esft_lightning.strategies import ESFTToken, trained_parameters
from esft_lightning.training.module import ExpertFineTuner

_STEPS = 20


def check_frozen(context: Context) -> None:
    """Every frozen weight bit for bit after 20 steps of AdamW with weight decay; every trained one moved."""
    for implementation in (IMPLEMENTATION, SYNC_FREE):
        model = drawn_shape(checked_shape(context), torch.bfloat16, context.device)
        before = {name: value.detach().cpu().clone() for name, value in model.named_parameters()}
        install_banks(model, {1: some_experts(context.scale.experts)})
        model.set_experts_implementation(implementation)
        trained = trained_parameters(model)
        start = {name: value.detach().clone() for name, value in trained.items()}
        optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.1, fused=True)
        loss, losses = LabelledTokenLoss(model), []
        batch = {name: value.to(context.device) for name, value in make_batch(checked_shape(context)).items()}
        for _ in range(_STEPS):
            result = loss(batch)
            (result.total / result.tokens).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(result.total / result.tokens))
        changed = [name for name, value in before.items() if not torch.equal(model.get_parameter(name).cpu(), value)]
        still = [name for name, value in trained.items() if torch.equal(value, start[name])]
        context.outcome.true(
            f"{implementation}: frozen weights keep their bits", not changed, f"{len(changed)} changed"
        )
        context.outcome.true(f"{implementation}: trained weights move", not still, f"{len(still)} stay")
        context.outcome.true(
            f"{implementation}: the loss falls", losses[-1] < losses[0], f"{losses[0]:.3f} to {losses[-1]:.3f}"
        )


class _Losses(Callback):
    """Every step's loss."""

    def __init__(self) -> None:
        self.by_step: dict[int, float] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.by_step[trainer.global_step] = float(trainer.callback_metrics["train/loss"])


def check_resume(context: Context) -> None:
    """Six steps of the embedded base in one go, and in two: equal losses."""
    folder = Path(context.folder)
    whole = _run(context, folder / "whole", None)
    (checkpoint,) = (folder / "whole").rglob("*step=3.ckpt")
    resumed = _run(context, folder / "resumed", checkpoint)
    apart = max(abs(whole[step] - resumed.get(step, float("nan"))) / abs(whole[step]) for step in (4, 5, 6))
    context.outcome.below(
        "losses of steps 4 to 6, largest relative difference", apart, 1e-4 if context.on_gpu else 1e-6
    )
    context.outcome.facts["bit for bit"] = apart == 0.0


def _run(context: Context, folder: Path, checkpoint: Path | None) -> dict[int, float]:
    seed_everything(0, verbose=False)
    losses = _Losses()
    keep = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = Trainer(
        default_root_dir=folder, accelerator=context.accelerator, devices=1, logger=False, max_steps=6, max_epochs=-1,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
        gradient_clip_val=1.0, callbacks=[losses, keep],
    )  # fmt: skip
    module = ExpertFineTuner(ESFTToken(top_k=6), learning_rate_scale=100, dtype="float32")
    trainer.fit(module, datamodule=embedded_rows(), ckpt_path=checkpoint)
    return losses.by_step


def check_autocast(context: Context) -> None:
    """A float32 base under bf16 autocast: its loss and gradients near those without."""
    for implementation in (IMPLEMENTATION, SYNC_FREE):
        model = drawn_shape(checked_shape(context), torch.float32, context.device)
        install_banks(model, {1: some_experts(context.scale.experts)})
        model.set_experts_implementation(implementation)
        batch = {name: value.to(context.device) for name, value in make_batch(checked_shape(context)).items()}
        loss, found = LabelledTokenLoss(model), []
        for on in (False, True):
            model.zero_grad(set_to_none=True)
            with torch.autocast(context.device.type, torch.bfloat16, enabled=on):
                total = loss(batch).total
            total.backward()
            gradients = [p.grad.flatten() for p in trained_parameters(model).values() if p.grad is not None]
            found.append((total.detach().clone(), torch.cat(gradients)))
        for what, plain, cast, limit in zip(("loss", "gradients"), *found, (1e-2, 1e-1), strict=True):
            context.outcome.near(f"{implementation}: {what}", cast, plain, limit)
