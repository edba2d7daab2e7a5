"""The verb `budget`: a model's configuration → what fine-tuning it costs by each strategy. No weights, no GPU."""

import argparse
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esft_lightning.budget.sizes import parse_bytes
from esft_lightning.errors import SettingError

DESCRIPTION = """\
What fine-tuning costs, from the model's configuration alone: trained parameters, adapter, training memory with and
without gradient checkpointing, operations per token, and how many devices hold it.
"""
EPILOG = """\
Which experts ESFT trains comes from an affinity profile (--profile), a selection (--expert-config), or is assumed
(--experts-per-layer). Memory is that of this library's training at the peak of a step: AdamW, fp32 masters of all that
trains (or what --weight-updates names), the loss in chunks, every token labelled. It does not count what a device's
driver and allocator take.

  python -m esft_lightning budget --model deepseek-ai/DeepSeek-V2-Lite --expert-config expert_cfg.json
  python -m esft_lightning budget --model tiny --profile affinity.safetensors --top-p 0.1 0.2 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options on `parser`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", metavar="DIR_OR_ID", required=True, help="folder with a config.json, that file, `tiny`, or a hub id")
    add(
        "--profile", metavar="FILE", type=Path, help="affinity profile: experts as ESFT-Token and ESFT-Gate select them"
    )
    add("--top-p", metavar="P", type=float, nargs="+", default=[], help="thresholds (default: token 0.2, gate 0.1)")
    add("--expert-config", metavar="FILE", type=Path, help="expert_cfg.json: exactly these experts")
    add(
        "--experts-per-layer",
        metavar="N",
        type=int,
        help="without profile and selection: experts trained in every layer (default: 7.5 %% of them)",
    )
    add(
        "--trained-rows",
        metavar="SHARE",
        type=float,
        help="share of a layer's rows that hit trained experts (default: as in the profile, else as if balanced)",
    )
    add("--lora-rank", metavar="R", type=int, nargs="+", default=[8], help="ranks of LoRA (default: 8)")
    add("--batch-size", metavar="B", type=int, default=1, help="sequences of a micro-batch (default: %(default)s)")
    add("--sequence-length", metavar="S", type=int, default=4096, help="tokens of a sequence (default: %(default)s)")
    add(
        "--accumulate-grad-batches",
        metavar="N",
        type=int,
        default=32,
        help="micro-batches of a step; with several, gradients stay through all of backward (default: %(default)s)",
    )
    add("--device-memory", metavar="SIZE", default="80GiB", help="usable memory of a device (default: %(default)s)")
    add("--kernels", choices=("cuda", "cpu"), default="cuda", help="whose attention kernels (default: %(default)s)")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="storage of the base's weights (default: the configuration's)",
    )
    add(
        "--weight-updates",
        choices=("fp32_masters", "kahan_summation"),
        default="fp32_masters",
        help="how small updates reach weights over a bf16 base: masters, 16 bytes a trained parameter, or without them "
        "compensated summation, 10 bytes (default: %(default)s)",
    )
    add("--attn-implementation", metavar="NAME", help="Transformers' attention (default: its own choice)")
    add("--revision", metavar="REV", help="hub revision of the model")
    add("--trust-remote-code", action="store_true", help="run model code that comes with the configuration")
    add("--parameters-only", action="store_true", help="count parameters and adapters, nothing else")
    add("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Carry out `budget`.

    Raises:
        UserError: For options that cannot be, files that cannot be read, and models that cannot be reckoned.
    """
    device_bytes = parse_bytes(args.device_memory)
    if args.accumulate_grad_batches < 1:
        raise SettingError(f"--accumulate-grad-batches {args.accumulate_grad_batches}: expected at least 1")
    if args.top_p and args.profile is None:
        raise SettingError("--top-p selects from a profile: give one with --profile, or a selection")
    given = args.experts_per_layer is not None and (args.profile is not None or args.expert_config is not None)
    if given:
        raise SettingError("--experts-per-layer stands in for a profile or a selection: drop one of them")
    with _no_garbage_collection():
        budgets = _reckon(args)
    if args.json:
        from esft_lightning.budget.table import as_json

        print(json.dumps(as_json(budgets, device_bytes, _settings(args)), indent=2))
    else:
        _print(budgets, device_bytes, args)
    return 0


def _reckon(args: argparse.Namespace) -> list[Any]:
    from esft_lightning.affinity.profile import AffinityProfile

    # Before the imports that take seconds: a file that is not there is said at once.
    profile = None if args.profile is None else AffinityProfile.load(args.profile)

    from esft_lightning.budget.candidates import assumed_experts, candidates, configured_experts, selected_experts
    from esft_lightning.budget.meta_model import meta_model
    from esft_lightning.budget.reckoning import reckon
    from esft_lightning.budget.step import TrainingShape

    shape = None
    if not args.parameters_only:
        shape = TrainingShape(
            args.batch_size, args.sequence_length, args.accumulate_grad_batches > 1, kernels=args.kernels
        )
    model = meta_model(
        args.model,
        dtype=args.dtype,
        revision=args.revision,
        trust_remote_code=args.trust_remote_code,
        attn_implementation=args.attn_implementation,
    )
    chosen = []
    if args.expert_config is not None:
        chosen.append(configured_experts(args.expert_config, model, profile, args.trained_rows))
    if profile is not None:
        chosen += selected_experts(profile, args.top_p)
    if not chosen:
        chosen.append(assumed_experts(model, args.experts_per_layer, args.trained_rows))
    return reckon(model, candidates(model, chosen, args.lora_rank), shape, weight_updates=args.weight_updates)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect nothing inside: libraries and models without weights leave little, and looking for it takes a tenth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key not in ("json", "device_memory")
    }


def _print(budgets: list[Any], device_bytes: int, args: argparse.Namespace) -> None:
    from rich.console import Console

    from esft_lightning.budget.table import memory_table, parameter_table, work_table
    from esft_lightning.moe.weight_updates import described

    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(parameter_table(budgets))
    if args.parameters_only:
        return
    console.print(memory_table(budgets, device_bytes))
    console.print(work_table(budgets))
    console.print(
        f"A micro-batch of {args.batch_size} × {args.sequence_length:,} tokens, {args.accumulate_grad_batches} of them "
        f"a step; attention kernels of {args.kernels}.\n"
        f"What trains is kept {described(args.weight_updates)}.{_copies(budgets)}",
        highlight=False,
    )


def _copies(budgets: list[Any]) -> str:
    """Which rounded copies of masters are among the activations, where there are any."""
    from esft_lightning.budget.sizes import show_bytes

    label, copy = max(((b.label, b.memory.copy) for b in budgets if b.memory), key=lambda row: row[1])
    if not copy:
        return ""
    return (
        " Forwards round it to the base's dtype, a weight at a time; the copy is among the activations, the largest "
        f"({label}) {show_bytes(copy)}."
    )
