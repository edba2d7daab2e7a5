"""A tiny random model of every family whose experts go through Transformers' experts interface."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from esft_lightning.moe.auto_class import auto_class

VOCABULARY = 96

#: Sizes under the names that most families share; a family takes those that its configuration has.
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 16, "head_dim": 16,
    "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16,
    "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16, "shared_expert_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip

_TOWER = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "patch_size": 2,
    "out_hidden_size": 32,
}
_VIT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_SAM = {
    "hidden_size": 16, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8, "window_size": 2, "global_attn_indexes": [0], "downsample_channels": [8, 8],
}  # fmt: skip
_DENSE_FIRST = ["dense", "sparse", "sparse"]
_INDEXER = {"index_head_dim": 16, "index_n_heads": 2, "index_topk": 8}
_LINEAR = {
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
}  # fmt: skip

#: model_type → what it needs besides; `text` is for the text model inside a multimodal one.
FAMILIES: dict[str, dict[str, Any]] = {
    "afmoe": {},
    "aria": {"vision_config": {"model_type": "idefics3_vision", **_VIT, "patch_size": 4, "image_size": 16}},
    "aria_text": {},
    "axk1": {"head_dim": 8},
    "axk2": {},
    "bailing_hybrid": {"n_group": 1, "topk_group": 1},
    "beam": {"mlp_layer_types": _DENSE_FIRST, "num_experts": 8, "n_group": 2, "topk_group": 1},
    "cohere2_moe": {},
    "deepseek_ocr2": {
        "text": {"num_experts_per_tok": 2, "head_dim": 16, "mlp_layer_types": _DENSE_FIRST},
        "vision_config": {
            "sam_config": _SAM,
            "encoder_config": {"vocab_size": 8, **_VIT, "num_key_value_heads": 2},
        },
    },
    "deepseek_v2": {},
    "deepseek_v3": {"head_dim": 8},
    "deepseek_v32": _INDEXER,
    "deepseek_v4": {},
    "dots1": {},
    "dots3_note_text": {
        **_INDEXER, "shared_experts_intermediate_size": 16, "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2,
        "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16, "swa_head_dim": 16, "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 16, "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention"],
    },
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1},
    "exaone_moe": {},
    "flex_olmo": {},
    "flint": {},
    "gemma4_text": {
        "enable_moe_block": True, "top_k_experts": 2, "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 96,
    },
    "glm4_moe": {},
    "glm4_moe_lite": {},
    "glm4v_moe": {
        "text": {"rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5,
        }},
        "vision_config": {**_TOWER, "image_size": 8},
    },
    "glm5_next": {
        "text": {
            "qk_rope_head_dim": 0, "head_dim": 0, "qk_nope_head_dim": 16, "index_head_dim": 16, "index_n_heads": 2,
            "index_topk": 16, "linear_head_dim": 8, "linear_num_heads": 2, "mlp_layer_types": _DENSE_FIRST,
        },
        "vision_config": {**_TOWER, "image_size": 8, "projection_intermediate_size": 16},
    },
    "glm_moe_dsa": _INDEXER,
    "gpt_oss": {},
    "granitemoe": {},
    "granitemoe_swa": {},
    "granitemoehybrid": {
        "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16,
        "shared_intermediate_size": 24, "layer_types": ["mamba", "attention", "mamba"],
    },
    "granitemoeshared": {"shared_intermediate_size": 24},
    "hunyuan_v1_moe": {},
    "hy_v3": {},
    "hy_v4": {},
    "inkling_text": {},
    "inkling2_text": {},
    "jamba": {},
    "kimi_linear": {"num_experts_per_tok": 2, "linear_head_dim": 8, "linear_num_heads": 2},
    "kolibri1": {},
    "laguna": {},
    "lfm2_moe": {"num_dense_layers": 1, "layer_types": ["conv", "full_attention", "conv"]},
    "mellum": {},
    "mimo_v2_flash": {"num_attention_heads": 8, "num_key_value_heads": 4},
    "minimax": {},
    "minimax_m2": {},
    "minimax_m3_vl_text": {},
    "mistral4": {},
    "mistral_large4": {
        "text": {**_INDEXER, "head_dim": 8},
        "vision_config": {"model_type": "pixtral", **_VIT, "head_dim": 8, "patch_size": 4, "image_size": 16},
    },
    "mixtral": {},
    "muse_spark": {
        "out_hidden_size": 16, "projector_hidden_size": 16, "text": {"moe_hidden_size": 16},
        "vision_config": {
            **_VIT, "patch_size": 2, "pos_emb_height": 4, "pos_emb_width": 4, "max_position_embeddings": 16,
        },
        "audio_config": {
            "hidden_sizes": [8, 8], "patch_sizes": [4, 2], "depths": [1, 1], "num_hidden_layers": 2,
            "out_hidden_size": 32,
        },
    },
    "nemotron_h": {"layers_block_type": ["moe", "attention", "moe"], "num_hidden_layers": 3},
    "olmoe": {},
    "phimoe": {},
    "qwen2_moe": {},
    "qwen3_5_moe_text": _LINEAR,
    "qwen3_moe": {},
    "qwen3_next": _LINEAR,
    "qwen3_omni_moe_thinker": {
        "vision_config": {**_TOWER, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        "audio_config": {
            "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "output_dim": 32,
            "downsample_hidden_size": 16,
        },
    },
    "qwen3_vl_moe": {"vision_config": {**_TOWER, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}},
    "qwen4_exp_text": _LINEAR,
    "solar_open": {},
    "unlimited_ocr": {
        "text": {"num_experts_per_tok": 2, "head_dim": 16, "mlp_layer_types": _DENSE_FIRST},
        "vision_config": {
            "sam_config": {**_SAM, "mlp_dim": 16}, "encoder_config": {**_VIT, "image_size": 8, "patch_size": 2},
        },
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}  # fmt: skip

#: Families that are refused, by name of what they lack.
REFUSED: dict[str, dict[str, Any]] = {
    "diffusion_gemma": {
        "text": {"top_k_experts": 2},
        "vision_config": {
            "model_type": "gemma4_vision", **_VIT, "num_key_value_heads": 2, "head_dim": 8,
            "position_embedding_size": 16,
        },
    },
    "ernie4_5_vl_moe": {
        "text": {
            "moe_intermediate_size": [16, 8], "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [3, 3, 2]},
        },
        "vision_config": _TOWER,
    },
    "openai_privacy_filter": {},
}  # fmt: skip

#: Families of multimodal models whose text model is in the table under a name of its own.
TEXT_MODELS = {
    "dots3_note": "dots3_note_text", "gemma4": "gemma4_text", "inkling": "inkling_text", "inkling2": "inkling2_text",
    "minimax_m3_vl": "minimax_m3_vl_text", "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_omni_moe": "qwen3_omni_moe_thinker", "qwen4_exp": "qwen4_exp_text",
}  # fmt: skip


def known_to_transformers() -> list[str]:
    """The folders of Transformers' families that declare the experts interface."""
    models = Path(transformers.__file__).parent / "models"
    files = sorted(models.glob("*/modeling_*.py"))
    return sorted({file.parent.name for file in files if "@use_experts_implementation" in file.read_text("utf-8")})


def tiny_config(family: str) -> PretrainedConfig:
    """The configuration of a family's tiny model."""
    changes = dict({**FAMILIES, **REFUSED}[family])
    of_text = changes.pop("text", {})
    default = AutoConfig.for_model(family)
    text = default.get_text_config()
    known = {*text.to_dict(), *text.attribute_map}
    sizes = {name: value for name, value in _SIZES.items() if name in known}
    if text is default:
        return AutoConfig.for_model(family, **{**sizes, **changes})
    (place,) = (name for name, value in vars(default).items() if value is text)
    return AutoConfig.for_model(family, **{place: {**sizes, **of_text}}, **changes)


def skeleton(family: str) -> PreTrainedModel:
    """A family's tiny model on the meta device."""
    config = tiny_config(family)
    with torch.device("meta"):
        return auto_class(config).from_config(config)


def tiny_family(family: str, seed: int = 0) -> PreTrainedModel:
    """A random model of a family, with matrices drawn wide enough that every expert is used and adapters show."""
    config = tiny_config(family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = auto_class(config).from_config(copy.deepcopy(config), dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
            for buffer in model.buffers():  # a table from token ids to experts
                if buffer.shape[:1] == (VOCABULARY,) and not buffer.is_floating_point():
                    buffer.copy_(torch.rand(VOCABULARY, 4).argsort(-1)[:, : buffer.shape[1]])
    model.set_experts_implementation("grouped_mm")
    return model.eval()
