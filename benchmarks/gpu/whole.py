"""A whole model as `fit` trains it, beside what the budget predicts from the configuration alone."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks.gpu.models import drawn, random_rows, some_experts, whole_config
from benchmarks.gpu.part import Context
from benchmarks.gpu.timed import free, matmul_rate
from benchmarks.timing import clock
from esft_lightning.affinity import ExpertSelection
from esft_lightning.budget.candidates import Candidate, balanced_shares
from esft_lightning.budget.meta_model import meta_model
from esft_lightning.budget.reckoning import StrategyBudget, reckon
from esft_lightning.budget.step import TrainingShape
from esft_lightning.moe import find_moe_layers, recompute_layers
from esft_lightning.moe.described_products import described_products
from esft_lightning.moe.identify import identify
from esft_lightning.strategies import ESFT, FrozenExperts, FullFineTuning, LoRA
from esft_lightning.training.module import ExpertFineTuner

_WITHIN = 0.10  # of the budget's prediction
_USABLE = 0.92  # of a device's memory


def measure_whole(context: Context) -> None:
    """ESFT, LoRA, frozen experts and full fine-tuning of OLMoE's whole shape; layers kept and recomputed."""
    scale, config = context.scale, whole_config(context)
    folder = Path(context.folder) / "base"
    config.save_pretrained(folder)
    meta = meta_model(folder, dtype="bfloat16")
    experts = {entry.layer: some_experts(entry.num_experts) for entry in find_moe_layers(meta)}
    selection = ExpertSelection(experts)
    selection.save(folder / "expert_cfg.json")
    rows = [
        ("ESFT", lambda: ESFT(expert_config=folder / "expert_cfg.json"), selection),
        ("LoRA", LoRA, None),
        ("FrozenExperts", FrozenExperts, None),
        ("FullFineTuning", FullFineTuning, None),
    ]
    shape = TrainingShape(scale.rows, scale.sequence, accumulates=False, kernels="cuda" if context.on_gpu else "cpu")
    candidates = [
        Candidate(label, make(), chosen, {} if chosen is None else balanced_shares(meta, chosen))
        for label, make, chosen in rows
    ]
    budgets = dict(zip([label for label, _, _ in rows], _of_rows(reckon(meta, candidates, shape), rows), strict=True))
    rate = matmul_rate(context, 8192, torch.bfloat16) if context.on_gpu else 0.0
    memory = torch.cuda.get_device_properties(context.device).total_memory if context.on_gpu else None
    for label, make, _ in rows:
        forms = ((False, False), (True, False)) + (((False, True),) if label == "ESFT" else ())
        for recomputed, sync_free in forms:
            budget = budgets[label]
            predicted = budget.memory_checkpointed if recomputed else budget.memory
            assert predicted is not None
            name = label + (", recomputed" if recomputed else "") + (", sync-free" if sync_free else "")
            if memory is not None and predicted.total > _USABLE * memory:
                context.outcome.skipped(name, f"it takes {predicted.total / 1e9:.0f} GB by the budget")
                continue
            if context.left < 0:
                context.outcome.skipped(name, "no time was left")
                continue
            _measure(context, config, name, make(), budget, predicted.total, rate, recomputed, sync_free)


def _of_rows(budgets: list[StrategyBudget], rows: list[Any]) -> list[StrategyBudget]:
    """Without the paper's arithmetic of LoRA, which is no strategy that runs."""
    labels = {label for label, _, _ in rows}
    return [budget for budget in budgets if budget.label in labels]


class _Drawn(ExpertFineTuner):
    """The fine-tuner on a model that is drawn on the device, where seven billion weights take no time."""

    config: Any
    place: torch.device

    def load_base(self) -> Any:
        if self.model is None:
            self.model = drawn(self.config, torch.bfloat16, self.place)
            self._base_identity = identify(self.model)
            if self.gradient_checkpointing:
                recompute_layers(self.model)
        return self.model


class _Steps(Callback):
    """Seconds of each step; the peak from the second on."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self._started, self.peak = device, [], 0.0, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.device.type == "cuda" and trainer.global_step == 1:
            torch.cuda.reset_peak_memory_stats(self.device)
        self._started = clock(self.device)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seconds.append(clock(self.device) - self._started)
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self.device)


def _measure(
    context: Context, config: Any, name: str, strategy: Any, budget: StrategyBudget, predicted: int, rate: float,
    recomputed: bool, sync_free: bool,
) -> None:  # fmt: skip
    scale = context.scale
    module = _Drawn(strategy, "drawn", gradient_checkpointing=recomputed, sync_free_experts=sync_free)
    module.config, module.place = config, context.device
    ids = random_rows(config.vocab_size, 1, scale.sequence, torch.device("cpu"))["input_ids"][0]
    rows: Any = [{"input_ids": ids, "labels": ids}] * scale.rows * (scale.steps + 2)
    loader = DataLoader(rows, batch_size=scale.rows)
    steps = _Steps(context.device)
    trainer = Trainer(
        default_root_dir=context.folder, accelerator=context.accelerator, devices=1, logger=False, max_epochs=-1,
        max_steps=scale.steps + 2, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, num_sanity_val_steps=0, gradient_clip_val=1.0, callbacks=[steps], log_every_n_steps=1000,
    )  # fmt: skip
    try:
        trainer.fit(module, loader)
        seconds, products = statistics.median(steps.seconds[2:]), described_products(module.model)
    except torch.OutOfMemoryError:
        context.outcome.skipped(name, f"the device has not enough memory; the budget said {predicted / 1e9:.1f} GB")
        return
    finally:
        del module, trainer
        free(context)
    context.outcome.facts.setdefault("products", products)
    tokens, work = scale.rows * scale.sequence, budget.work
    assert work is not None
    operations = work.forward + work.backward + (work.recomputation if recomputed else 0.0)
    context.row(
        strategy=name, seconds=round(seconds, 4), **{
            "tokens/s": round(tokens / seconds),
            "TFLOP/s": round(operations * tokens / seconds / 1e12, 1),
            "of the device's products": f"{operations * tokens / seconds / 1e12 / rate:.0%}" if rate else "",
            "peak, GB": round(steps.peak / 1e9, 2) if steps.peak else "",
            "predicted, GB": round(predicted / 1e9, 2) if context.scale.published else round(predicted / 1e9, 4),
            "prediction off by": f"{predicted / steps.peak - 1:+.1%}" if steps.peak and not sync_free else "",
        },
    )  # fmt: skip
    if steps.peak and not sync_free:  # whose memory the budget does not reckon
        context.outcome.below(f"{name}: the budget's distance from the peak", abs(predicted / steps.peak - 1), _WITHIN)
