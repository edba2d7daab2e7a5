"""Small random MoE models for tests: real Transformers architectures, a few thousand parameters."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DeepseekV2Config, PreTrainedModel

from esft_lightning.moe import banks, find_moe_layers, remove_banks


def deepseek_config(**changes: Any) -> DeepseekV2Config:
    """DeepSeek-V2's architecture with 8 routed experts, top 2, in layers 1 and 2 (layer 0 is dense)."""
    sizes: dict[str, Any] = {
        "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16,
        "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 16,
        "q_lora_rank": None, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "head_dim": 8, "v_head_dim": 16,
        "n_shared_experts": 1, "n_routed_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
        "norm_topk_prob": False, "topk_method": "greedy", "n_group": 1, "topk_group": 1,
        "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
    }  # fmt: skip
    return DeepseekV2Config(**(sizes | changes))


def deepseek_model(
    seed: int = 0, dtype: torch.dtype = torch.float32, experts_implementation: str = "grouped_mm", **changes: Any
) -> PreTrainedModel:
    """A random model of `deepseek_config`, with a router drawn wide enough that all experts are used."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(deepseek_config(**changes), dtype=dtype)
        for name, parameter in model.named_parameters():
            if name.endswith("gate.weight"):
                torch.nn.init.normal_(parameter, std=0.5)
            elif parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    model.set_experts_implementation(experts_implementation)
    return model.eval()


def written_back(model: PreTrainedModel) -> PreTrainedModel:
    """The same function as a stock model: the trained banks' rows in the fused tensors of a copy."""
    stock = copy.deepcopy(model)
    trained = dict(banks(stock))
    remove_banks(stock)
    with torch.no_grad():
        for entry in find_moe_layers(stock):
            if entry.layer in trained:
                bank = trained[entry.layer]
                for name, rows in bank.named_parameters():
                    parameter = entry.experts.get_parameter(name)
                    parameter[bank.expert_ids] = rows.to(parameter.dtype)
    return stock
