"""Adapters of every strategy on tiny models, their weights moved at random as training would move them."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import PreTrainedModel

from esft_lightning.adapters import save_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import find_moe_layers, model_fingerprint
from esft_lightning.strategies import (
    ESFT,
    ESFTToken,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RelevantExpertLoRA,
    trained_parameters,
)

IDS = torch.randint(3, 96, (2, 16), generator=torch.Generator().manual_seed(0))
STRATEGIES: dict[str, FineTuningStrategy] = {
    "esft": ESFTToken(),
    "esft + shared + non-expert": ESFTToken(shared_experts=True, non_expert_modules=True),
    "shared only": ESFT(routed_experts=False, shared_experts=True),
    "frozen experts": FrozenExperts(),
    "full": FullFineTuning(),
    "lora": LoRA(rank=4),
    "relevant lora": RelevantExpertLoRA(rank=4),
}


def save_trained(
    folder: Path, strategy: FineTuningStrategy, base: PreTrainedModel, *, seed: int = 0, name: str = "test"
) -> Path:
    """Write the adapter of a copy of the base whose trained parameters were moved; every second layer selects two."""
    model, selection = copy.deepcopy(base), None
    if isinstance(strategy, ESFT) and strategy.expert_config is not None:
        selection = strategy.expert_config
    elif isinstance(strategy, ESFT) and strategy.needs_profile:
        layers = [entry.layer for entry in find_moe_layers(model)]
        experts = {layer: [3, 1][: 1 + layer % 2] for layer in layers}
        selection = ExpertSelection(experts, strategy.shared_experts, strategy.non_expert_modules)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # low-rank factors are drawn
        strategy.apply(model, selection)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return save_adapter(
        model,
        folder,
        strategy=strategy.name,
        base=name,
        base_fingerprint=model_fingerprint(base),
        selection=selection,
    )


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    """What a model says of `IDS`."""
    return model(IDS, use_cache=False).logits
