"""Tiny random models whose experts are kept in different ways, saved as their families' checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_models import deepseek_model
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

_SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 16, "head_dim": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

#: Family → settings of its own. What each shows: experts one by one under the official names; with a shared expert;
#: under other names (w1, w2, w3); transposed, interleaved, with biases; fused in the checkpoint too; without a gate.
LAYOUTS = {
    "deepseek_v2": {},
    "qwen2_moe": {"shared_expert_intermediate_size": 24, "decoder_sparse_step": 1},
    "olmoe": {},
    "mixtral": {},
    "gpt_oss": {},
    "granitemoe": {},
    "deepseek_v3": {
        "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "head_dim": 8, "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 1, "num_hidden_layers": 3,
    },
    "nemotron_h": {
        "hybrid_override_pattern": "E*E", "num_hidden_layers": 3, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
        "moe_shared_expert_intermediate_size": 24, "layers_block_type": ["moe", "attention", "moe"],
    },
}  # fmt: skip


def make_model(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """A random model of a family, its weights wide enough that adapters show."""
    if family == "deepseek_v2":
        return deepseek_model(seed=seed, dtype=dtype)
    config = AutoConfig.for_model(family, **{**_SIZES, **LAYOUTS[family]})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
    model.set_experts_implementation("grouped_mm")
    return model.eval()


def save_base(folder: Path, family: str, dtype: torch.dtype = torch.float32, seed: int = 0, **options: str) -> str:
    """A model folder of a family, as `save_pretrained` writes it."""
    model = make_model(family, dtype, seed)
    model.generation_config = GenerationConfig(max_new_tokens=7, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder, **options)
    return str(folder)
