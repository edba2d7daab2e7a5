"""What the embedded model does on the device, against the CPU: profile, selection, generated answers."""

from __future__ import annotations

import copy
from typing import Any

import torch

from benchmarks.gpu.models import some_experts
from benchmarks.gpu.part import Context
from benchmarks.gpu.waiting import embedded_rows
from esft_lightning.evaluation import generate
from esft_lightning.moe import (
    SYNC_FREE,
    banks,
    find_moe_layers,
    install_banks,
    load_model,
    load_tokenizer,
    remove_banks,
)
from esft_lightning.profiling.measurement import measure_affinity
from esft_lightning.strategies import ESFTGate, ESFTToken


def check_selection(context: Context) -> None:
    """Profiles by both scores, and the experts that both strategies select."""
    data = embedded_rows()
    data.setup("fit")
    model = load_model("tiny", dtype="float32")
    profiles = []
    for device in (torch.device("cpu"), context.device):
        model.to(device)  # pyright: ignore[reportArgumentType] - Transformers wraps the method
        profiles.append(measure_affinity(model, data.profile_dataloader(), token_budget=context.scale.profile_tokens))
    here, there = profiles
    context.outcome.true("as many tokens", here.tokens == there.tokens, f"{there.tokens:,}")
    for score in ("gate", "token"):
        pairs = [torch.from_numpy(profile.scores(score, average="token")) for profile in (there, here)]
        context.outcome.near(f"{score} scores", *pairs, limit=1e-3)
    for strategy in (ESFTToken(top_p=0.2), ESFTGate(top_p=0.1)):
        chosen = [strategy.select(profile).experts for profile in profiles]
        context.outcome.true(f"{strategy.name} selects the same experts", chosen[0] == chosen[1])


def check_generation(context: Context) -> None:
    """Answers of a model with trained experts: those of a stock model with the same weights, on device and CPU."""
    tokenizer = load_tokenizer("tiny")
    data = embedded_rows(test_rows=4)
    prompts = [sample["prompt"] for sample in data.test_samples][:4]
    model: Any = load_model("tiny", dtype="float32").requires_grad_(False)
    experts = {entry.layer: some_experts(entry.num_experts) for entry in find_moe_layers(model)}
    install_banks(model, experts)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, bank in banks(model):
            for parameter in bank.parameters():
                parameter.add_(0.3 * float(parameter.abs().mean()) * torch.randn(parameter.shape, generator=generator))
    stock = _written_back(model)
    length = 24 if context.scale.published else 6

    def answers(one: Any) -> list[str]:
        return generate(one, tokenizer, prompts, max_new_tokens=length, batch_size=4)

    expected = answers(stock)
    for what, one, implementation in (
        ("stock", stock, None),
        ("two banks", model, None),
        ("sync-free", model, SYNC_FREE),
    ):
        one.to(context.device)
        if implementation:
            one.set_experts_implementation(implementation)
        found = answers(one)
        same = sum(a == b for a, b in zip(found, expected, strict=True))
        context.outcome.true(f"{what}: the CPU's answers", same == len(expected), f"{same} of {len(expected)}")
    context.outcome.true("there are answers", any(expected))


def _written_back(model: Any) -> Any:
    """A stock model that computes the same: trained rows in the fused tensors of a copy."""
    stock = copy.deepcopy(model)
    trained = dict(banks(stock))
    remove_banks(stock)
    with torch.no_grad():
        for entry in find_moe_layers(stock):
            for name, rows in trained[entry.layer].named_parameters():
                parameter = entry.experts.get_parameter(name)
                parameter[trained[entry.layer].expert_ids] = rows.to(parameter.dtype)
    return stock
