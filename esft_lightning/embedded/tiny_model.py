"""The tiny model before training, and what pretraining minimizes.

Knows the architecture (DeepSeek-V2; its sizes are a `Shape`) and the loss of one step; the run itself, its data and its
files are in :mod:`esft_lightning.embedded.pretrain`. The untrained model that a seed draws serves as the null model of
routing figures: ``new_model(tiny_config(tokenizer), seed)``.

The balancing loss is that of the Switch Transformer, ``alpha · E · Σ_i f_i · P_i`` per MoE layer, with ``f_i`` the
share of the batch's expert choices that fall on expert i and ``P_i`` its mean router probability.

Shape letters: B batch, S sequence, T = B·S tokens, E routed experts, K experts per token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, PreTrainedModel

__all__ = ["BALANCE", "PretrainingLoss", "Shape", "balance_loss", "new_model", "tiny_config"]

BALANCE = 0.005
"""Weight of the load-balancing loss.

At 0.001 a few experts took four times their share in every domain while others starved, and two tasks shared 1.8 of
their top 6 experts; the batch holds all domains, so that balancing it does not keep experts from specializing.
"""


@dataclass(frozen=True)
class Shape:
    """The sizes of a tiny model.

    Attributes:
        layers: MoE layers; a dense layer stands before them.
        experts: Routed experts of a layer.
        top_k: Experts that a token is sent to.
        expert_width: Intermediate size of an expert.
        hidden: Hidden size; the dense layer's intermediate size is three times as large.
        heads: Attention heads.
        head_width: Size of a head; half of query and key carries positions.
        kv_rank: Size of the compressed keys and values.
    """

    layers: int = 4
    experts: int = 64
    top_k: int = 6
    expert_width: int = 48
    hidden: int = 128
    heads: int = 4
    head_width: int = 32
    kv_rank: int = 64

    def __str__(self) -> str:
        """Layers × experts × expert width, and what differs from the first shape's attention and hidden size."""
        name = f"{self.layers}x{self.experts}x{self.expert_width}"
        usual = Shape()
        for label, value, normal in (
            ("top", self.top_k, usual.top_k),
            ("hidden", self.hidden, usual.hidden),
            ("heads", self.heads, usual.heads),
            ("head", self.head_width, usual.head_width),
            ("rank", self.kv_rank, usual.kv_rank),
        ):
            name += f"-{label}{value}" if value != normal else ""
        return name


def tiny_config(tokenizer: Any, shape: Shape = Shape()) -> DeepseekV2Config:
    """The tiny model's configuration: DeepSeek-V2's architecture in a `Shape`.

    ``initializer_range`` is wide enough (0.06) that the router starts with distinct preferences: at 0.02 the gates,
    which are not renormalized, start near 1/64 each and routed experts hardly contribute for hundreds of steps.
    """
    return DeepseekV2Config(
        architectures=["DeepseekV2ForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        moe_intermediate_size=shape.expert_width,
        num_hidden_layers=1 + shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        qk_nope_head_dim=shape.head_width // 2,
        qk_rope_head_dim=shape.head_width // 2,
        v_head_dim=shape.head_width,
        kv_lora_rank=shape.kv_rank,
        q_lora_rank=None,
        n_routed_experts=shape.experts,
        num_experts_per_tok=shape.top_k,
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
    chosen = top_k_index.reshape(-1)
    # not bincount, which on a GPU waits for its result
    share_E = torch.zeros(experts, device=chosen.device).index_add_(
        0, chosen, torch.ones_like(chosen, dtype=torch.float)
    )
    probability_E = router_logits.float().softmax(-1).mean(0)
    return experts * (share_E / chosen.numel() * probability_E).sum()


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


class PretrainingLoss(nn.Module):
    """A model with what its pretraining minimizes: language-model loss and balancing loss."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of one step.

        Args:
            ids: Rows [B, S].

        Returns:
            The loss to differentiate, and the language-model loss alone, detached.
        """
        with _router_outputs(self.model) as routed:
            hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden[:, :-1].reshape(-1, hidden.shape[-1]))
        loss = F.cross_entropy(logits, ids[:, 1:].reshape(-1))
        balance = torch.stack([balance_loss(logits_TE, index_TK) for logits_TE, index_TK in routed]).mean()
        return loss + BALANCE * balance, loss.detach()
