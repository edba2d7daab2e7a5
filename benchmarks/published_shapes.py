"""The published shapes of the models in configs/models: what differs from the family's defaults in Transformers."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

#: YAML file → the model's configuration, and its parameters in all, as Transformers makes it.
SHAPES: dict[str, tuple[dict[str, Any], int]] = {
    "deepseek_v2_lite": (
        {
            "model_type": "deepseek_v2", "vocab_size": 102_400, "hidden_size": 2048, "intermediate_size": 10_944,
            "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16,
            "num_key_value_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64, "n_shared_experts": 2,
            "num_experts_per_tok": 6, "first_k_dense_replace": 1, "norm_topk_prob": False, "topk_method": "greedy",
            "n_group": 1, "topk_group": 1,
        },
        15_706_484_224,
    ),
    "olmoe_1b_7b": (
        {
            "model_type": "olmoe", "vocab_size": 50_304, "hidden_size": 2048, "intermediate_size": 1024,
            "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64,
            "num_experts_per_tok": 8, "norm_topk_prob": False,
        },
        6_919_161_856,
    ),
    "qwen1_5_moe_a2_7b": (
        {
            "model_type": "qwen2_moe", "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 5632,
            "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "num_hidden_layers": 24,
            "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
            "norm_topk_prob": False, "decoder_sparse_step": 1,
        },
        14_315_784_192,
    ),
    "qwen3_30b_a3b": (
        {
            "model_type": "qwen3_moe", "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 6144,
            "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
            "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True,
        },
        30_532_122_624,
    ),
    "mixtral_8x7b": (
        {
            "model_type": "mixtral", "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 14_336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
        46_702_792_704,
    ),
    "gpt_oss_20b": (
        {
            "model_type": "gpt_oss", "vocab_size": 201_088, "hidden_size": 2880, "intermediate_size": 2880,
            "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
            "num_local_experts": 32, "num_experts_per_tok": 4,
        },
        20_914_757_184,
    ),
    "moonlight_16b_a3b": (
        {
            "model_type": "deepseek_v3", "vocab_size": 163_840, "hidden_size": 2048, "intermediate_size": 11_264,
            "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16,
            "num_key_value_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64, "head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64, "n_shared_experts": 2,
            "num_experts_per_tok": 6, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
            "norm_topk_prob": True, "routed_scaling_factor": 2.446,
        },
        15_960_108_544,
    ),
    "glm_4_5_air": (
        {
            "model_type": "glm4_moe", "vocab_size": 151_552, "hidden_size": 4096, "intermediate_size": 10_944,
            "moe_intermediate_size": 1408, "num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8,
            "head_dim": 128, "partial_rotary_factor": 0.5, "n_routed_experts": 128, "n_shared_experts": 1,
            "num_experts_per_tok": 8, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
            "norm_topk_prob": True, "routed_scaling_factor": 1.0, "attention_bias": True, "use_qk_norm": False,
        },
        106_852_245_504,
    ),
}  # fmt: skip


def published_config(name: str) -> PretrainedConfig:
    """The configuration of a model in configs/models."""
    return AutoConfig.for_model(**SHAPES[name][0])
