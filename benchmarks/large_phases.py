"""What `fit` does with a large model, phase by phase in a process of its own: peak memory, seconds, losses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.large_checkpoint import LargeShape
from benchmarks.resident import peak_bytes, start_peak


class PeakLog:
    """The process's peak memory, phase by phase: resident, or on the CUDA device where it has begun to use one."""

    def __init__(self) -> None:
        """Start anew; what is held already is the base line."""
        self.peaks: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.baseline = self._reset()

    def end(self, phase: str) -> None:
        """A phase has ended; the next one begins."""
        self.peaks[phase] = max(self.peaks.get(phase, 0), peak_bytes())
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - self._started
        self._reset()

    def _reset(self) -> int:
        self._started = time.perf_counter()
        return start_peak()


def run_phases(
    shape: LargeShape,
    folder: Path,
    runs: Path,
    steps: int,
    sequence: int,
    profile_tokens: int,
    resume: str | None,
    accelerator: str = "cpu",
) -> dict[str, Any]:
    """Run `fit` as a user would, and measure it; to be called in a process of its own.

    Args:
        shape: Which model.
        folder: Its checkpoint.
        runs: Where profiles, checkpoints and the adapter go.
        steps: Optimizer steps in all; a checkpoint is saved in the middle.
        sequence: Tokens of a step, in one row.
        profile_tokens: Tokens of the profiling pass.
        resume: A checkpoint to go on from.
        accelerator: As Lightning names it; on CUDA the peaks are those of the device's memory.

    Returns:
        Peaks and seconds by phase, losses and seconds by step, and what the memory is needed for.
    """
    import torch
    from lightning.pytorch import Callback, Trainer, seed_everything
    from lightning.pytorch.callbacks import ModelCheckpoint

    from esft_lightning.strategies import ESFTToken, trained_parameters
    from esft_lightning.tasks import IntentDataModule
    from esft_lightning.training.callbacks import AdapterCheckpoint, ExpertAffinityProfiler
    from esft_lightning.training.module import ExpertFineTuner

    seed_everything(0, verbose=False)
    data = IntentDataModule(
        tokenizer=str(folder), train_rows=400, sequence_length=sequence, batch_size=1, cache_dir=None,
        val_rows=40,
    )  # fmt: skip
    data.setup("fit")
    log = PeakLog()

    class Measured(ExpertFineTuner):
        """The fine-tuner, whose base's loading is a phase."""

        def load_base(self) -> Any:
            first = self.model is None
            model = super().load_base()
            if first:
                log.end("load")
            return model

    losses: dict[int, float] = {}
    step_seconds: list[float] = []

    class Phases(Callback):
        """Ends phases where the Trainer says so; stands behind the profiler and before those that save."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            log.end("resume" if resume else "profile and select")

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self._started = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            step_seconds.append(time.perf_counter() - self._started)
            losses[trainer.global_step] = float(trainer.callback_metrics["train/loss"])
            log.end("steps")

    class Saved(Callback):
        """Ends the phase of saving."""

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            log.end("save")

    module = Measured(
        ESFTToken(top_k=shape.experts_per_layer), base=str(folder), dtype="bfloat16", gradient_checkpointing=True,
        general_ability=False, quantize_experts=shape.quantize_experts,  # type: ignore[arg-type]
    )  # fmt: skip
    middle = ModelCheckpoint(
        runs / "checkpoints", filename="{step}", every_n_train_steps=max(1, steps // 2), save_top_k=-1
    )
    trainer = Trainer(
        default_root_dir=runs, accelerator=accelerator, devices=1, logger=False, max_steps=steps, limit_val_batches=0,
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, max_epochs=-1,
        gradient_clip_val=1.0, callbacks=[
            ExpertAffinityProfiler(token_budget=profile_tokens, cache_dir=str(runs / "profiles")),
            Phases(), AdapterCheckpoint(save_best=False, dirpath=str(runs)), middle, Saved(),
        ],
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    log.end("save")
    trained = sum(parameter.numel() for parameter in trained_parameters(module.model).values())
    held = [*module.model.named_parameters(), *module.model.named_buffers()]
    weights = sum(value.nbytes for name, value in held if ".trained_bank." not in name)
    batch = next(iter(data.train_dataloader()))
    with torch.no_grad():
        activations = layer_activations(module.model, batch)
    return {
        "baseline_bytes": log.baseline,
        "peak_bytes_by_phase": log.peaks,
        "seconds_by_phase": log.seconds,
        "step_seconds": step_seconds,
        "losses": losses,
        "trained_parameters": trained,
        "weights_bytes": weights,
        "activation_bytes": activations,
        "checkpoints": sorted(str(path) for path in (runs / "checkpoints").glob("*.ckpt")),
    }


def layer_activations(model: Any, batch: Any) -> int:
    """Bytes that autograd keeps of one decoder layer, the largest, without recomputation; weights not counted.

    Args:
        model: A model with banks, in train mode.
        batch: One batch of training.
    """
    import torch

    from benchmarks.saved_activations import saved_storages
    from esft_lightning.moe import find_decoder, find_moe_layers

    decoder, entry = find_decoder(model), find_moe_layers(model)[-1]
    layer = next(module for name, module in model.named_modules() if name.endswith(f".{entry.layer}"))
    kept = 0

    def again(module: Any, args: tuple, kwargs: dict, output: Any) -> None:
        nonlocal kept
        checkpointing, module.gradient_checkpointing = module.gradient_checkpointing, False
        hidden = args[0].detach().requires_grad_()
        with torch.enable_grad(), saved_storages(model.parameters()) as saved:
            made = module.forward(hidden, *args[1:], **kwargs)
        module.gradient_checkpointing = checkpointing
        del made
        kept = saved.bytes

    handle = layer.register_forward_hook(again, with_kwargs=True)
    try:
        decoder(input_ids=batch["input_ids"], position_ids=batch.get("position_ids"), use_cache=False)
    finally:
        handle.remove()
    return kept
