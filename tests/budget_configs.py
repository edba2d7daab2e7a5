"""Configurations of published models, as their `config.json` gives them: sizes alone, for budgets without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.published_shapes import SHAPES

_LITE = SHAPES["deepseek_v2_lite"][0]

PUBLISHED: dict[str, dict[str, Any]] = {
    "deepseek_v2_lite": _LITE,
    # 236 billion parameters.
    "deepseek_v2": {
        **_LITE, "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536,
        "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
        "n_routed_experts": 160, "topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3,
    },
    "olmoe": SHAPES["olmoe_1b_7b"][0],
    "qwen3_moe": SHAPES["qwen3_30b_a3b"][0],
    "mixtral": SHAPES["mixtral_8x7b"][0],
    "gpt_oss": SHAPES["gpt_oss_20b"][0],
}  # fmt: skip


def write_published(folder: Path, name: str) -> str:
    """A model folder that holds a published configuration and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16", **PUBLISHED[name]}))
    return str(folder)
