"""What every family must do: one function a promise, each on a tiny random model, each telling what it saw."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tiny_families import VOCABULARY, tiny_family
from tiny_models import written_back
from torch import Tensor
from transformers import PreTrainedModel

from esft_lightning.adapters import load_adapter, save_adapter
from esft_lightning.adapters.formats import export_adapter, import_adapter, merge_adapter
from esft_lightning.affinity import ExpertAffinity, ExpertSelection
from esft_lightning.moe import (
    MoELayer,
    RoutingTap,
    banks,
    find_moe_layers,
    install_banks,
    load_model,
    model_fingerprint,
    projection_names,
    reads_packed_samples_apart,
)
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.router_traits import router_traits
from esft_lightning.strategies import (
    ESFT,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RandomExperts,
    RelevantExpertLoRA,
    group_parameters,
    trained_parameters,
    training_table,
)

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Subject:
    """One family's tiny model. Checks work on copies of it.

    Attributes:
        family: Its model_type.
        model: The untouched model.
        layers: Its MoE layers.
        selection: Two experts of every MoE layer.
    """

    family: str
    model: PreTrainedModel
    layers: list[MoELayer] = field(repr=False)
    selection: dict[int, list[int]]

    def copy(self) -> PreTrainedModel:
        """A copy that may be changed."""
        return copy.deepcopy(self.model)

    def adapted(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """A copy with a bank of the selected experts, moved away from the base."""
        model = self.copy().requires_grad_(False)
        install_banks(model, self.selection, dtype)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for _, bank in banks(model):
                for parameter in bank.parameters():
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        return model


@cache
def subject(family: str) -> Subject:
    """The subject of a family, made once."""
    model = tiny_family(family)
    layers = find_moe_layers(model)
    return Subject(family, model, layers, {entry.layer: [1, 3] for entry in layers})


def tokens(rows: int = 2, length: int = 12) -> Tensor:
    """Token ids that are no special tokens and no placeholders of pictures."""
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(0))


def logits(model: PreTrainedModel, ids: Tensor | None = None) -> Tensor:
    """The model's logits, without a cache."""
    with torch.no_grad():
        return model(input_ids=tokens() if ids is None else ids, use_cache=False).logits


def layout(it: Subject) -> str:
    """How the family keeps its experts, by the flags that the library goes by."""
    experts: Any = it.layers[0].experts
    names = projection_names(experts)
    told = ["gate + up" if experts.has_gate else "up only"]
    told += ["interleaved"] if experts.has_gate and not experts.is_concatenated else []
    told += ["transposed"] if experts.is_transposed else []
    told += ["biases"] if any(name.endswith("_bias") for name in names) else []
    told += ["norm after experts"] if experts.has_post_expert_norm else []
    return ", ".join(told)


def tap(it: Subject) -> str:
    """What the tap records is what the router itself returned, bit for bit, for every token, in order."""
    model = it.copy()
    returned: dict[int, list[Tensor]] = {entry.layer: [] for entry in it.layers}
    for entry in find_moe_layers(model):
        block = model.get_submodule(entry.block_name)
        for name, child in block.named_modules():
            if name and not f"{entry.block_name}.{name}.".startswith(f"{entry.name}."):
                child.register_forward_hook(
                    lambda module, args, output, layer=entry.layer: returned[layer].extend(_tensors(output))
                )
    with torch.no_grad(), RoutingTap(model).record() as routing:
        model(input_ids=tokens(), use_cache=False)
    assert sorted(routing) == [entry.layer for entry in it.layers]
    for layer, seen in routing.items():
        assert len(seen.top_k_index) == tokens().numel()
        for value in (seen.top_k_index, seen.top_k_weights):
            assert any(
                given.numel() == value.numel()
                and given.is_floating_point() == value.is_floating_point()
                and torch.equal(given.reshape(value.shape).to(value.dtype), value)
                for given in returned[layer]
            ), f"layer {layer}: no module beside the experts returned what was tapped"
    return "yes"


def router(it: Subject) -> str:
    """The form of the gates, as a profile records it."""
    model = it.copy()
    traits = router_traits(model)
    with torch.no_grad(), RoutingTap(model).record() as routing:
        model(input_ids=tokens(), use_cache=False)
    for layer, seen in routing.items():
        sums = seen.top_k_weights.sum(-1)
        if traits[layer].renormalized:
            assert float((sums - (traits[layer].scale or 0.0)).abs().max()) <= 2e-2 * (traits[layer].scale or 0.0)
    return str(traits[it.layers[-1].layer])


def two_banks(it: Subject) -> str:
    """Two-bank output equals the stock model with the same weights."""
    model = it.adapted()
    difference = float((logits(model) - logits(written_back(model))).abs().max())
    moved = float((logits(model) - logits(it.model)).abs().max())
    assert difference <= TOLERANCE, difference
    assert moved > 100 * TOLERANCE, "the trained rows must show"
    return "yes"


def gradients(it: Subject) -> str:
    """Gradients of the trained rows equal those of full autograd through the stock model."""
    model = it.adapted()
    stock = written_back(model).requires_grad_(True)
    for one in (model, stock):
        torch.nn.functional.cross_entropy(
            one(input_ids=tokens(), use_cache=False).logits[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten()
        ).backward()
    worst = 0.0
    layers = {entry.layer: entry for entry in find_moe_layers(stock)}
    for layer, bank in banks(model):
        for name, parameter in bank.named_parameters():
            wanted = layers[layer].experts.get_parameter(name).grad
            assert wanted is not None and parameter.grad is not None
            wanted = wanted[bank.expert_ids]
            worst = max(worst, float((parameter.grad - wanted).abs().max() / wanted.abs().max().clamp(min=1.0)))
    assert worst <= TOLERANCE, worst
    return "yes"


def frozen(it: Subject) -> str:
    """After AdamW steps with decay only the trained rows moved; every other weight is the same, bit for bit."""
    model = it.adapted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=1e-2, weight_decay=0.1)
    loss = LabelledTokenLoss(model)
    model.train()
    for _ in range(2):
        batch = {"input_ids": tokens(), "labels": tokens()}
        loss(batch).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.state_dict().items():
        if ".trained_bank." in name:
            assert not torch.equal(value, before[name]), name
        elif "e_score_correction" not in name:
            assert torch.equal(value, before[name]), name
    return "yes"


def adapter(it: Subject) -> str:
    """Saved, loaded onto a fresh base, merged into a folder, sent through the authors' layout: the same logits."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        it.copy().save_pretrained(folder / "base")
        model = it.adapted()
        wanted = logits(model)
        chosen = ExpertSelection(it.selection)
        save_adapter(
            model,
            folder / "adapter",
            strategy="ESFT",
            base=str(folder / "base"),
            base_fingerprint=model_fingerprint(it.model),
            selection=chosen,
        )
        again = load_adapter(load_model(folder / "base"), folder / "adapter")
        assert torch.equal(logits(again), wanted), "loaded"
        merge_adapter(folder / "base", folder / "adapter", folder / "merged")
        difference = float((logits(load_model(folder / "merged")) - wanted).abs().max())
        assert difference <= TOLERANCE, f"merged: {difference}"
        export_adapter(folder / "adapter", folder / "official", base=folder / "base")
        import_adapter(folder / "official", folder / "back", base=folder / "base")
        assert torch.equal(logits(load_adapter(load_model(folder / "base"), folder / "back")), wanted), "imported"
    return "yes"


def strategies(it: Subject) -> str:
    """Every strategy applies, and what it reports to train is what has gradients after a step."""
    metric = ExpertAffinity([entry.layer for entry in it.layers], it.layers[0].num_experts, _top_k(it))
    with torch.no_grad(), RoutingTap(it.model).record() as routing:
        it.model(input_ids=tokens(), use_cache=False)
    metric.update(routing, torch.zeros(tokens().numel(), dtype=torch.long))
    profile = metric.profile()
    every: list[FineTuningStrategy] = [
        FullFineTuning(), FrozenExperts(), ESFT("token"), ESFT("gate", 0.5, normalize=True), RandomExperts(),
        RelevantExpertLoRA(rank=2),
    ]  # fmt: skip
    if "shared experts" in group_parameters(it.model).values():
        every.append(ESFT(routed_experts=False, shared_experts=True))
    for strategy in every:
        model = it.copy()
        strategy.apply(model, strategy.select(profile) if strategy.needs_profile else None)
        table = {row.group: row for row in training_table(model)}
        assert sum(row.trained for row in table.values()) == sum(p.numel() for p in trained_parameters(model).values())
        routed = table["routed experts"]
        if isinstance(strategy, FrozenExperts) or not getattr(strategy, "routed_experts", True):
            assert routed.trained == 0
        elif isinstance(strategy, FullFineTuning):
            assert routed.trained == routed.total
        else:
            assert 0 < routed.trained < routed.total
        assert "encoders" not in table or table["encoders"].trained == 0
    return "yes"


def lora(it: Subject) -> str:
    """LoRA reaches every routed expert; saved and loaded again it gives the same logits."""
    model = it.copy()
    LoRA(rank=2).apply(model)
    groups = group_parameters(model)
    routed = sum(p.numel() for name, p in trained_parameters(model).items() if groups[name] == "routed experts")
    per_expert = sum(
        sum(entry.experts.get_parameter(name).shape[1:])
        for entry in it.layers
        for name in projection_names(entry.experts)
        if entry.experts.get_parameter(name).dim() == 3
    )
    assert routed == 2 * per_expert * it.layers[0].num_experts
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    wanted = logits(model)
    assert float((wanted - logits(it.model)).abs().max()) > 100 * TOLERANCE
    with tempfile.TemporaryDirectory() as place:
        save_adapter(
            model,
            Path(place) / "adapter",
            strategy="LoRA",
            base=it.family,
            base_fingerprint=model_fingerprint(it.model),
        )
        again = logits(load_adapter(it.copy(), Path(place) / "adapter"))
    assert float((again - wanted).abs().max()) <= TOLERANCE
    return "yes"


def masters(it: Subject) -> str:
    """Over a bf16 base all that trains is fp32, read rounded: the base's logits, its gradients but for a rounding."""
    with tempfile.TemporaryDirectory() as place:
        it.copy().save_pretrained(place)
        base = load_model(place, dtype="bfloat16").requires_grad_(False)
    model = FullFineTuning().apply(copy.deepcopy(base))
    trained = trained_parameters(model)
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    assert torch.equal(logits(model), logits(base))
    for name, parameter in base.named_parameters():
        parameter.requires_grad_(name in trained)
    batch = {"input_ids": tokens(), "labels": tokens()}
    for one in (model, base):
        LabelledTokenLoss(one)(batch).total.backward()
    for name, parameter in base.named_parameters():
        if name in trained and parameter.grad is not None:
            gradient = parameter.grad.float()
            difference = (trained[name].grad - gradient).norm()  # type: ignore[operator]
            assert difference <= 0.01 * gradient.norm(), name
    return "yes"


def loss(it: Subject) -> str:
    """The loss on labelled positions alone is the model's own loss; says whether the head ran on them alone."""
    model, ids = it.copy(), tokens()
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < 5, -100)
    ours = LabelledTokenLoss(model)
    found = ours({"input_ids": ids, "labels": labels})
    rows = logits(model, ids)[:, :-1]
    wanted = torch.nn.functional.cross_entropy(rows.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
    assert torch.allclose(found.total / found.tokens, wanted, atol=1e-5)
    return "labelled positions" if ours.has_plain_head else "whole logits"


def packing(it: Subject) -> str:
    """Whether samples packed into a row, each with positions of its own, are read as if each stood alone."""
    apart = reads_packed_samples_apart(it.copy())
    first, second = tokens(1, 9), tokens(2, 7)[1:]
    packed = torch.cat([first, second], dim=1)
    positions = torch.cat([torch.arange(9), torch.arange(7)])[None]
    with torch.no_grad():
        found = it.model(input_ids=packed, position_ids=positions, use_cache=False).logits[:, 9:]
    difference = float((found - logits(it.model, second)).abs().max())
    assert (difference <= 1e-4) == apart, f"the library says {apart}, the logits differ by {difference}"
    return "apart" if apart else "cross"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "layout": layout,
    "tap": tap,
    "router": router,
    "two banks": two_banks,
    "gradients": gradients,
    "frozen": frozen,
    "adapter": adapter,
    "strategies": strategies,
    "LoRA": lora,
    "masters": masters,
    "loss": loss,
    "packing": packing,
}


@cache
def result(family: str, check: str) -> str:
    """What a check saw on a family; made once, for the tests and for the page."""
    return CHECKS[check](subject(family))


def _top_k(it: Subject) -> int:
    with torch.no_grad(), RoutingTap(it.model).record() as routing:
        it.model(input_ids=tokens(1, 4), use_cache=False)
    return next(iter(routing.values())).top_k_index.shape[1]


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output.detach().clone()]
    return [value for part in output for value in _tensors(part)] if isinstance(output, tuple | list) else []
