"""The tiny model before training, and what pretraining minimises.

Knows the architecture (DeepSeek-V2, 64 routed experts) and the loss of one step; the run itself, its data and its
files are in :mod:`esft_lightning.assets.pretrain`. The untrained model that a seed draws serves as the null model of
routing figures: ``new_model(tiny_config(tokenizer), seed)``.

The balancing loss is that of the Switch Transformer, ``alpha · E · Σ_i f_i · P_i`` per MoE layer, with ``f_i`` the
share of the batch's expert choices that fall on expert i and ``P_i`` its mean router probability.

Shape letters: B batch, S sequence, T = B·S tokens, E routed experts, K experts per token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, PreTrainedModel

__all__ = ["BALANCE", "balance_loss", "new_model", "step_loss", "tiny_config"]

BALANCE = 0.005
"""Weight of the load-balancing loss.

At 0.001 a few experts took four times their share in every domain while others starved, and two tasks shared 1.8 of
their top 6 experts; the batch holds all domains, so that balancing it does not keep experts from specialising.
"""


def tiny_config(tokenizer: Any) -> DeepseekV2Config:
    """The tiny model's configuration: DeepSeek-V2's architecture, 64 routed experts of which 6 are active.

    ``initializer_range`` is wide enough (0.06) that the router starts with distinct preferences: at 0.02 the gates,
    which are not renormalised, start near 1/64 each and routed experts hardly contribute for hundreds of steps.
    """
    return DeepseekV2Config(
        architectures=["DeepseekV2ForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        moe_intermediate_size=48,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        qk_nope_head_dim=16,
        qk_rope_head_dim=16,
        v_head_dim=32,
        kv_lora_rank=64,
        q_lora_rank=None,
        n_routed_experts=64,
        num_experts_per_tok=6,
        n_shared_experts=1,
        first_k_dense_replace=1,
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
        topk_method="greedy",
        max_position_embeddings=4096,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def new_model(config: DeepseekV2Config, seed: int) -> DeepseekV2ForCausalLM:
    """The untrained model of ``config`` with the weights that ``seed`` draws: the start of pretraining."""
    torch.manual_seed(seed)
    model = DeepseekV2ForCausalLM(config)
    model.set_experts_implementation("grouped_mm")
    return model


def balance_loss(router_logits: Tensor, top_k_index: Tensor) -> Tensor:
    """Load-balancing loss of one MoE layer.

    Args:
        router_logits: [T, E].
        top_k_index: [T, K], the experts chosen.

    Returns:
        Scalar, 1 when both choices and probabilities are uniform.
    """
    experts = router_logits.shape[-1]
    share_E = torch.bincount(top_k_index.reshape(-1), minlength=experts).float() / top_k_index.numel()
    probability_E = router_logits.float().softmax(-1).mean(0)
    return experts * (share_E * probability_E).sum()


@contextmanager
def _router_outputs(model: PreTrainedModel) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect ``(router_logits [T, E], top_k_index [T, K])`` of every MoE layer during the forward inside."""
    seen: list[tuple[Tensor, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _module, _input, output: seen.append((output[0], output[2])))
        for module in model.modules()
        if type(module).__name__ == "DeepseekV2TopkRouter"
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def step_loss(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, float]:
    """Loss of one step.

    Args:
        model: The tiny model.
        ids: Rows [B, S].

    Returns:
        The loss to differentiate (language-model loss and balancing loss), and the language-model loss alone.
    """
    with _router_outputs(model) as routed:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1].reshape(-1, hidden.shape[-1]))
    loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1))
    balance = torch.stack([balance_loss(logits_TE, index_TK) for logits_TE, index_TK in routed]).mean()
    return loss + BALANCE * balance, loss.item()
