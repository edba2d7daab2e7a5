"""The models that are measured: the embedded one, and layers like those of published models, scaled to fit.

Weights of all but `tiny` are drawn at random: what a step costs does not depend on what a model knows. It depends on
routing, which is read from the batch at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DeepseekV2Config, OlmoeConfig, PretrainedConfig, PreTrainedModel

from esft_lightning.affinity import select_top_k
from esft_lightning.moe import RoutingTap, find_moe_layers, load_model

Family = Literal["tiny", "olmoe", "deepseek"]
Selection = Mapping[int, list[int]]
Batch = Mapping[str, Tensor]
_VOCABULARY = 8192


@dataclass(frozen=True)
class Shape:
    """One model and the tokens of one of its steps.

    Attributes:
        name: What tables call it.
        family: Whose layers: the embedded model, OLMoE (every layer routed) or DeepSeek-V2-Lite (first layer dense, two
            shared experts).
        hidden: Hidden size.
        intermediate: Intermediate size of an expert.
        experts: Routed experts of a layer.
        top_k: Experts per token.
        layers: Decoder layers.
        rows: Sequences of a step.
        sequence: Tokens of a sequence.
    """

    name: str
    family: Family
    hidden: int = 64
    intermediate: int = 32
    experts: int = 64
    top_k: int = 6
    layers: int = 2
    rows: int = 2
    sequence: int = 512

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.rows * self.sequence


TINY = Shape("tiny", "tiny", layers=5, rows=2, sequence=512)
OLMOE = Shape("olmoe", "olmoe", hidden=1024, intermediate=512, experts=64, top_k=8, layers=4, rows=2, sequence=512)
DEEPSEEK = Shape(
    "deepseek", "deepseek", hidden=1024, intermediate=704, experts=64, top_k=6, layers=4, rows=2, sequence=512
)
SWEEP = Shape("sweep", "olmoe", hidden=512, intermediate=256, experts=64, top_k=8, layers=2, rows=2, sequence=512)


def small(shape: Shape) -> Shape:
    """The same family at a size whose step takes milliseconds: it shows that a benchmark works, not how fast it is."""
    if shape.family == "tiny":
        return replace(shape, rows=1, sequence=128)
    experts = max(8, shape.experts // 4)
    return replace(shape, hidden=64, intermediate=32, experts=experts, top_k=2, layers=2, rows=2, sequence=32)


def shape_of(name: str, quick: bool) -> Shape:
    """A shape by its name, `tiny`, `olmoe` or `deepseek`.

    Args:
        name: Which.
        quick: Take the small one of its family.
    """
    shape = {shape.name: shape for shape in (TINY, OLMOE, DEEPSEEK)}[name]
    return small(shape) if quick else shape


def build_model(shape: Shape, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """The shape's model, every weight frozen, experts computed by the stock grouped matmul.

    Args:
        shape: Which model.
        dtype: Storage dtype of the weights.
        seed: Seed of drawn weights.

    Returns:
        The model in train mode.
    """
    if shape.family == "tiny":
        model = load_model("tiny", dtype="float32").to(dtype)  # type: ignore[arg-type]
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(model_config(shape), dtype=dtype)
        model.set_experts_implementation("grouped_mm")
    return model.requires_grad_(False).train()


def model_config(shape: Shape) -> PretrainedConfig:
    """The configuration of a drawn model.

    Args:
        shape: Any but `tiny`.
    """
    sizes: dict[str, Any] = {
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "vocab_size": _VOCABULARY,
        "num_experts_per_tok": shape.top_k, "max_position_embeddings": 4096, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "num_attention_heads": max(1, shape.hidden // 128),
        "num_key_value_heads": max(1, shape.hidden // 128),
    }  # fmt: skip
    if shape.family == "olmoe":
        return OlmoeConfig(**sizes, intermediate_size=shape.intermediate, num_experts=shape.experts)
    return DeepseekV2Config(
        **sizes, intermediate_size=4 * shape.hidden, moe_intermediate_size=shape.intermediate,
        n_routed_experts=shape.experts, n_shared_experts=2, first_k_dense_replace=1, q_lora_rank=None,
        kv_lora_rank=shape.hidden // 4, qk_nope_head_dim=128, qk_rope_head_dim=64, head_dim=64, v_head_dim=128,
        norm_topk_prob=False, topk_method="greedy", n_group=1, topk_group=1,
    )  # fmt: skip


def make_batch(shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """One step's data: packed intent rows for `tiny`, drawn tokens, all of them labelled, for the others.

    Args:
        shape: Which model, and how many tokens.
        seed: Seed of drawn tokens.

    Returns:
        `input_ids`, `labels`, `position_ids`, `sample_ids` (integers) and `token_mask` (bool), all `[rows, sequence]`.
    """
    if shape.family == "tiny":
        from esft_lightning.tasks import IntentDataModule

        data = IntentDataModule(
            train_rows=40 * shape.rows, sequence_length=shape.sequence, batch_size=shape.rows, cache_dir=None,
            cross_sample_attention=False, on_overflow="next_row",
        )  # fmt: skip
        return {key: value for key, value in next(iter(data.train_dataloader())).items() if isinstance(value, Tensor)}
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, _VOCABULARY, (shape.rows, shape.sequence), generator=generator)
    positions = torch.arange(shape.sequence).expand(shape.rows, -1).contiguous()
    samples = torch.arange(shape.rows)[:, None].expand_as(ids).contiguous()
    mask = torch.ones_like(ids, dtype=torch.bool)
    return {"input_ids": ids, "labels": ids, "position_ids": positions, "sample_ids": samples, "token_mask": mask}


def most_used(model: PreTrainedModel, batch: Batch, count: int) -> Selection:
    """The experts that the batch's tokens go to most often, as ESFT-Token selects them.

    Args:
        model: The untouched model.
        batch: The data.
        count: Experts a layer; 0 selects none.

    Returns:
        Layer number → expert ids; an empty mapping for none.
    """
    if count == 0:
        return {}
    layers, chosen = find_moe_layers(model), chosen_experts(model, batch)
    used = [chosen[entry.layer].flatten().bincount(minlength=entry.num_experts) for entry in layers]
    scores = torch.stack(used).cpu().double().numpy() / chosen[layers[0].layer].numel()
    return select_top_k(scores, [entry.layer for entry in layers], count).experts


@torch.no_grad()
def chosen_experts(model: PreTrainedModel, batch: Batch) -> dict[int, Tensor]:
    """Layer number → the experts that each of the batch's T tokens goes to, `[T, K]`."""
    with RoutingTap(model).record() as routing:
        model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)
    return {layer: entry.top_k_index for layer, entry in routing.items()}


def selected_row_share(chosen: Mapping[int, Tensor], selection: Selection) -> float:
    """Share of the routed experts' rows that the selected experts compute.

    Args:
        chosen: What `chosen_experts` gives.
        selection: The selected experts.
    """
    hits = [
        torch.isin(index, torch.tensor(list(selection.get(layer, [])), device=index.device))
        for layer, index in chosen.items()
    ]
    return float(torch.stack(hits).double().mean())


def share_of(shape: Shape, share: float) -> int:
    """How many experts a layer a share of them is; at least one of any share above 0."""
    return max(1, round(share * shape.experts)) if share else 0
