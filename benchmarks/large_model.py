"""Train a model that memory suggests is too large: one copy of the weights, and what is selected, from load to resume.

    python -m benchmarks.large_model --shape olmoe_7b             # 6.92B parameters, bf16, 4 experts a layer
    python -m benchmarks.large_model --shape deepseek_v2_lite     # 15.7B, routed experts in int8, 1 expert a layer
    python -m benchmarks.large_model --shape olmoe_7b --scale small   # shows that it works, in under 3 GiB

A checkpoint of random weights is written a layer at a time, under the names of the hub. Then two processes of their own
run what `fit` runs: one loads, profiles, selects, trains, saves in the middle and writes an adapter; one resumes from
the saved checkpoint, and must come to the same losses. Peaks are the kernel's (VmHWM, mapped files included) per phase,
against

    weights + 16 bytes a trained parameter (fp32 master, gradient, two moments) + one layer's activations.

Random weights cost what trained ones do, except that their routers spread tokens evenly.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.published_shapes import SHAPES as PUBLISHED
from benchmarks.resident import peak_resident_bytes, start_from_here

_BYTES_PER_TRAINED = 16  # fp32 master, gradient, two moments
_TARGET = 1.05


@dataclass(frozen=True)
class LargeShape:
    """A published model's shape, and how it is trained here.

    Attributes:
        name: What it is called.
        sizes: Values of its configuration, its `model_type` among them.
        experts_per_layer: Selected experts a layer.
        quantize_experts: How frozen experts are kept; None is full.
    """

    name: str
    sizes: dict[str, Any]
    experts_per_layer: int
    quantize_experts: str | None = None


def _published(name: str) -> dict[str, Any]:
    return {**PUBLISHED[name][0], "max_position_embeddings": 4096}


SHAPES = {
    "olmoe_7b": LargeShape("olmoe_7b", _published("olmoe_1b_7b"), experts_per_layer=4),
    "deepseek_v2_lite": LargeShape(
        "deepseek_v2_lite", _published("deepseek_v2_lite"), experts_per_layer=1, quantize_experts="int8"
    ),
}


def scaled(shape: LargeShape, scale: str) -> LargeShape:
    """The shape itself (`full`), about a gigabyte of it (`small`), or a few megabytes for tests (`test`).

    Raises:
        ValueError: Another scale.
    """
    if scale == "full":
        return shape
    if scale not in ("small", "test"):
        raise ValueError(f"scale must be full, small or test, got {scale!r}")
    hidden, layers = (1024, 6) if scale == "small" else (64, 3)
    smaller = {
        "vocab_size": 8192, "hidden_size": hidden, "intermediate_size": hidden // 2, "num_hidden_layers": layers,
        "moe_intermediate_size": 11 * hidden // 16, "num_attention_heads": max(1, hidden // 128),
        "num_key_value_heads": max(1, hidden // 128), "kv_lora_rank": hidden // 4,
    }  # fmt: skip
    sizes = shape.sizes | {key: value for key, value in smaller.items() if key in shape.sizes}
    return replace(shape, name=f"{shape.name}-{scale}", sizes=sizes)


# ---- the checkpoint ------------------------------------------------------------------------------------------------


def write_checkpoint(shape: LargeShape, folder: Path, seed: int = 0) -> int:
    """Write a model folder of random bf16 weights; a layer of it is in memory at a time.

    Args:
        shape: Which model.
        folder: A new folder. It gets the embedded model's tokenizer, so that data can be read with it.
        seed: Seed of the weights.

    Returns:
        How many parameters the model has.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.core_model_loading import revert_weight_conversion

    from esft_lightning.assets import TINY
    from esft_lightning.formats.sharded_writer import ShardedWriter

    config = AutoConfig.for_model(**shape.sizes, bos_token_id=None, eos_token_id=None)
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    config.architectures = [type(model).__name__]
    folder.mkdir(parents=True)
    for path in TINY.glob("*token*"):
        shutil.copyfile(path, folder / path.name)
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(seed)
    units: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        units.setdefault(name.split(".mlp.")[0] if ".layers." in name else name, []).append(name)
    writer = ShardedWriter(folder, 2 * 10**9)
    parameters = 0
    for names in units.values():
        values = {}
        for name in names:
            size = model.get_parameter(name).shape
            parameters += size.numel()
            ones = len(size) == 1
            value = torch.ones(size, dtype=torch.bfloat16) if ones else torch.empty(size, dtype=torch.bfloat16)
            values[name] = value if ones else value.normal_(std=0.02, generator=generator)
        for key, value in revert_weight_conversion(model, values).items():
            writer.add(key, value.clone() if value.untyped_storage().nbytes() > value.nbytes else value)
        del values
    writer.close()
    return parameters


# ---- one process ---------------------------------------------------------------------------------------------------


class PeakLog:
    """The process's peak resident memory, phase by phase, as the kernel keeps it."""

    def __init__(self) -> None:
        """Start anew; what is resident already is the base line."""
        self.peaks: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.baseline = self._reset()

    def end(self, phase: str) -> None:
        """A phase has ended; the next one begins."""
        self.peaks[phase] = max(self.peaks.get(phase, 0), peak_resident_bytes())
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - self._started
        self._reset()

    def _reset(self) -> int:
        self._started = time.perf_counter()
        return start_from_here()


def run_phases(
    shape: LargeShape, folder: Path, runs: Path, steps: int, sequence: int, profile_tokens: int, resume: str | None
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

    Returns:
        Peaks and seconds by phase, losses and seconds by step, and what the memory is needed for.
    """
    import torch
    from lightning.pytorch import Callback, Trainer, seed_everything
    from lightning.pytorch.callbacks import ModelCheckpoint

    from esft_lightning.callbacks import AdapterCheckpoint, ExpertAffinityProfiler
    from esft_lightning.data import IntentDataModule
    from esft_lightning.module import ExpertFineTuner
    from esft_lightning.strategies import ESFTToken, trained_parameters

    seed_everything(0, verbose=False)
    data = IntentDataModule(
        tokenizer=str(folder), train_rows=400, sequence_length=sequence, batch_size=1, cache_dir=None,
        val_fraction=0.1,
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
        default_root_dir=runs, accelerator="cpu", devices=1, logger=False, max_steps=steps, limit_val_batches=0,
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


# ---- the command ---------------------------------------------------------------------------------------------------


def _child(queue: Any, arguments: tuple) -> None:
    """Run the phases, and hand back what was measured."""
    queue.put(run_phases(*arguments))


def _in_a_process(*arguments: Any) -> dict[str, Any]:
    """`run_phases` in a fresh process.

    Raises:
        RuntimeError: If it ends without a result.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_child, args=(queue, arguments))
    process.start()
    while process.is_alive() and queue.empty():
        time.sleep(0.2)
    result = None if queue.empty() else queue.get()
    process.join()
    if result is None:
        raise RuntimeError(
            f"the run ended with code {process.exitcode} and no result; -9 means that the system had no memory left"
        )
    return result


def summary(shape: LargeShape, parameters: int, first: dict[str, Any], resumed: dict[str, Any]) -> dict[str, Any]:
    """What was measured, against the bound.

    Args:
        shape: Which model.
        parameters: How many it has.
        first: `run_phases` of the run that loads, trains and saves.
        resumed: `run_phases` of the one that goes on from its checkpoint.
    """
    needed = first["weights_bytes"] + _BYTES_PER_TRAINED * first["trained_parameters"] + first["activation_bytes"]
    peak = max(max(run["peak_bytes_by_phase"].values()) for run in (first, resumed))
    again = {step: first["losses"][step] for step in resumed["losses"]}
    seconds = sorted(first["step_seconds"][1:] or first["step_seconds"])
    return {
        "shape": shape.name,
        "quantize_experts": shape.quantize_experts,
        "parameters": parameters,
        "trained_parameters": first["trained_parameters"],
        "needed_bytes": needed,
        "peak_bytes": peak,
        "peak_over_needed": peak / needed,
        "peak_over_needed_without_libraries": (peak - first["baseline_bytes"]) / needed,
        "within_bound": peak <= _TARGET * needed,
        "step_seconds": seconds[len(seconds) // 2],
        "resumed_losses_equal": bool(again) and again == resumed["losses"],
        "first": first,
        "resumed": resumed,
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 if the peak is within the bound and the resumed run agrees; 1 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_model", description="Train a model that memory suggests is too large."
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--scale", choices=("full", "small", "test"), default="full")
    parser.add_argument("--folder", type=Path, default=Path("runs/large_model"), help="place of everything written")
    parser.add_argument("--output", type=Path, help="JSON file of what was measured (default: in the folder)")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps; half of them again after resuming")
    parser.add_argument("--sequence", type=int, default=512, help="tokens of a step")
    parser.add_argument("--profile-tokens", type=int, default=2048)
    parser.add_argument("--experts", type=int, help="selected experts a layer, instead of the shape's")
    parser.add_argument("--full-experts", action="store_true", help="keep frozen experts unquantised")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoint of random weights")
    args = parser.parse_args(argv)
    shape = scaled(SHAPES[args.shape], args.scale)
    if args.experts:
        shape = replace(shape, experts_per_layer=args.experts)
    if args.full_experts:
        shape = replace(shape, quantize_experts=None)
    root = args.folder / shape.name
    base, runs = root / "base", root / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    try:
        parameters = _checkpoint(shape, base)
        options = (args.steps, args.sequence, args.profile_tokens)
        first = _in_a_process(shape, base, runs, *options, None)
        resumed = _in_a_process(shape, base, runs / "resumed", *options, first["checkpoints"][0])
    finally:
        shutil.rmtree(runs, ignore_errors=True)
        if not args.keep:
            shutil.rmtree(base, ignore_errors=True)
    found = summary(shape, parameters, first, resumed)
    output = args.output or root / "result.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(_text(found))
    print(f"written: {output}")
    return 0 if found["within_bound"] and found["resumed_losses_equal"] else 1


def _checkpoint(shape: LargeShape, base: Path) -> int:
    """The checkpoint of random weights, made unless it was kept; how many parameters it has.

    Raises:
        SystemExit: If the disk has no room for it.
    """
    record = base / "parameters.json"
    if record.is_file():
        return int(json.loads(record.read_text(encoding="utf-8")))
    shutil.rmtree(base, ignore_errors=True)
    base.parent.mkdir(parents=True, exist_ok=True)
    needed = _checkpoint_bytes(shape)
    free = shutil.disk_usage(base.parent).free
    if free < 1.5 * needed:
        raise SystemExit(
            f"{base.parent} has {free / 1e9:.0f} GB free; the checkpoint, and what training saves beside it, need "
            f"{1.5 * needed / 1e9:.0f} GB: name another place with --folder"
        )
    print(f"writing {needed / 1e9:.1f} GB of random weights to {base}", flush=True)
    parameters = write_checkpoint(shape, base)
    record.write_text(json.dumps(parameters), encoding="utf-8")
    return parameters


def _checkpoint_bytes(shape: LargeShape) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape.sizes))
    return 2 * sum(parameter.numel() for parameter in model.parameters())


def _text(found: dict[str, Any]) -> str:
    """What was measured, for the terminal."""
    gigabytes = {
        "needed": found["needed_bytes"],
        "peak": found["peak_bytes"],
        **{f"  {phase}": size for phase, size in found["first"]["peak_bytes_by_phase"].items()},
        **{f"  resumed: {phase}": size for phase, size in found["resumed"]["peak_bytes_by_phase"].items()},
        "libraries before loading": found["first"]["baseline_bytes"],
    }
    lines = [f"{found['shape']}: {found['parameters']:,} parameters, {found['trained_parameters']:,} trained"]
    lines += [f"{name:<34}{size / 1e9:>8.2f} GB" for name, size in gigabytes.items()]
    lines.append(
        f"peak / needed {found['peak_over_needed']:.3f} (without libraries "
        f"{found['peak_over_needed_without_libraries']:.3f}), target {_TARGET}"
    )
    lines.append(f"step {found['step_seconds']:.1f} s; resumed losses equal: {found['resumed_losses_equal']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
