"""Configurations of published models, as their `config.json` gives them: sizes alone, for budgets without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEEPSEEK_V2_LITE: dict[str, Any] = {
    "model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "torch_dtype": "bfloat16",
    "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
    "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "kv_lora_rank": 512,
    "q_lora_rank": None, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_shared_experts": 2,
    "n_routed_experts": 64, "num_experts_per_tok": 6, "first_k_dense_replace": 1, "topk_method": "greedy",
    "n_group": 1, "topk_group": 1, "norm_topk_prob": False, "tie_word_embeddings": False,
}  # fmt: skip

PUBLISHED: dict[str, dict[str, Any]] = {
    "deepseek_v2_lite": DEEPSEEK_V2_LITE,
    "deepseek_v2": {
        **DEEPSEEK_V2_LITE, "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536,
        "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
        "n_routed_experts": 160, "topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3,
    },
    "olmoe": {
        "model_type": "olmoe", "torch_dtype": "bfloat16", "vocab_size": 50304, "hidden_size": 2048,
        "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16,
        "num_experts": 64, "num_experts_per_tok": 8,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe", "torch_dtype": "bfloat16", "vocab_size": 151936, "hidden_size": 2048,
        "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
    },
    "mixtral": {
        "model_type": "mixtral", "torch_dtype": "bfloat16", "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "num_local_experts": 8, "num_experts_per_tok": 2,
    },
    "gpt_oss": {
        "model_type": "gpt_oss", "torch_dtype": "bfloat16", "vocab_size": 201088, "hidden_size": 2880,
        "intermediate_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8,
        "head_dim": 64, "num_local_experts": 32, "num_experts_per_tok": 4,
    },
}  # fmt: skip


def write_published(folder: Path, name: str) -> str:
    """A model folder that holds a published configuration and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(PUBLISHED[name]))
    return str(folder)
