"""Checkpoints of random weights in the shape of published models, written a layer at a time."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.own_process import in_a_process
from benchmarks.published_shapes import SHAPES as PUBLISHED
from esft_lightning.storage import atomic_write, whole_folder


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


def have_checkpoint(shape: LargeShape, base: Path) -> int:
    """Make the checkpoint, unless it was kept.

    Args:
        shape: Which model.
        base: Its folder; one that is not whole is made anew.

    Returns:
        How many parameters the model has.

    Raises:
        SystemExit: If the disk has no room for it.
    """
    record = base / "parameters.json"
    if record.is_file():
        return int(json.loads(record.read_text(encoding="utf-8")))
    shutil.rmtree(base, ignore_errors=True)
    base.parent.mkdir(parents=True, exist_ok=True)
    needed = checkpoint_bytes(shape)
    free = shutil.disk_usage(base.parent).free
    if free < 1.5 * needed:
        raise SystemExit(
            f"{base.parent} has {free / 1e9:.0f} GB free; the checkpoint, and what training saves beside it, need "
            f"{1.5 * needed / 1e9:.0f} GB: name another place with --folder"
        )
    print(f"writing {needed / 1e9:.1f} GB of random weights to {base}", flush=True)
    # Elsewhere: the C library would keep gigabytes of what was freed, which the training process needs.
    with whole_folder(base) as folder:
        parameters = in_a_process(write_checkpoint, shape, folder)
    atomic_write(record, json.dumps(parameters).encode())
    return parameters


def write_checkpoint(shape: LargeShape, folder: Path, seed: int = 0) -> int:
    """Write a model folder of random bf16 weights; a layer of it is in memory at a time.

    Args:
        shape: Which model.
        folder: An empty folder, or a new one. It gets the embedded model's tokenizer, so that data can be read with it.
        seed: Seed of the weights.

    Returns:
        How many parameters the model has.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.core_model_loading import revert_weight_conversion

    from esft_lightning.adapters.formats.sharded_writer import ShardedWriter
    from esft_lightning.embedded import TINY

    config = AutoConfig.for_model(**shape.sizes, bos_token_id=None, eos_token_id=None)
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    config.architectures = [type(model).__name__]
    folder.mkdir(parents=True, exist_ok=True)
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


def checkpoint_bytes(shape: LargeShape) -> int:
    """Bytes of a shape's weights in bf16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape.sizes))
    return 2 * sum(parameter.numel() for parameter in model.parameters())
