"""Models of random weights, made on the device."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.gpu.part import Context
from benchmarks.published_shapes import SHAPES as PUBLISHED
from benchmarks.shapes import DEEPSEEK, OLMOE, Shape, model_config

_ROUTER_SPREAD = 2.0  # of the routers' logits on normalized states: tokens differ in their experts, and use all


def checked_shape(context: Context) -> Shape:
    """Two layers of DeepSeek-V2's kind, the second routed, of the scale's sizes."""
    scale = context.scale
    return Shape(
        "checked", "deepseek", hidden=scale.hidden, intermediate=scale.intermediate, experts=scale.experts,
        top_k=min(6, scale.experts // 2), layers=2, rows=2, sequence=max(16, scale.tokens // 2),
    )  # fmt: skip


def measured_shapes(context: Context) -> list[Shape]:
    """OLMoE's and V2-Lite's layers, as published or of the scale's sizes."""
    scale = context.scale
    sizes: dict[str, Any] = {"rows": scale.rows, "sequence": scale.sequence, "layers": 3 if scale.published else 2}
    if not scale.published:
        sizes |= {"hidden": scale.hidden, "intermediate": scale.intermediate, "experts": scale.experts, "top_k": 2}
    published = [{"hidden": 2048, "intermediate": 1024}, {"hidden": 2048, "intermediate": 1408}]
    return [
        replace(shape, **(own if scale.published else {}), **sizes)
        for shape, own in zip((OLMOE, DEEPSEEK), published, strict=True)
    ]


def drawn(config: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A model of a configuration, frozen, its weights drawn on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate.weight"):
                parameter.normal_(std=_ROUTER_SPREAD / math.sqrt(parameter.shape[-1]))
    model.set_experts_implementation("grouped_mm")
    return model.to(device).requires_grad_(False).train()


def drawn_shape(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """The model of a benchmark's shape, on the device."""
    return drawn(model_config(shape), dtype, device)


def whole_config(context: Context) -> Any:
    """OLMoE-1B-7B's configuration; of fewer and smaller layers below the full scale."""
    sizes, scale = dict(PUBLISHED["olmoe_1b_7b"][0]), context.scale
    sizes |= {"num_hidden_layers": scale.whole_layers, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if not scale.published:
        sizes |= {
            "hidden_size": scale.hidden, "intermediate_size": scale.intermediate, "num_experts": scale.experts,
            "num_experts_per_tok": 2, "vocab_size": 512, "num_attention_heads": 2, "num_key_value_heads": 2,
        }  # fmt: skip
    return AutoConfig.for_model(sizes.pop("model_type"), **sizes)


def saved(model: Any, folder: Path) -> Path:
    """A checkpoint of the model."""
    model.save_pretrained(folder)
    return folder


def random_rows(vocabulary: int, rows: int, sequence: int, device: torch.device) -> dict[str, Tensor]:
    """A batch of drawn tokens, all labelled."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (rows, sequence), generator=generator).to(device)
    samples = torch.arange(rows, device=device)[:, None].expand_as(ids).contiguous()
    mask = torch.ones_like(ids, dtype=torch.bool)
    return {"input_ids": ids, "labels": ids.clone(), "token_mask": mask, "sample_ids": samples}


def some_experts(experts: int) -> list[int]:
    """An eighth of them, spread over their ids; at least two."""
    return list(range(0, experts, max(1, min(8, experts // 2))))
