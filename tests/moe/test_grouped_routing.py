"""Routing to groups of experts against arithmetic done by hand; what sees it; that nothing is left behind."""

import copy

import pytest
import torch
from test_discovery import SMALL
from tiny_models import deepseek_model
from transformers import AutoConfig, AutoModelForCausalLM

from esft_lightning.moe import (
    GroupedRoutingError,
    RoutingTap,
    install_banks,
    install_grouped_routing,
    model_fingerprint,
    remove_banks,
    remove_grouped_routing,
    routed_to_groups,
)
from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.moe.router_traits import router_traits
from esft_lightning.strategies.lora import attach_lora, detach_lora

IDS = torch.randint(3, 96, (3, 10), generator=torch.Generator().manual_seed(0))
PAIRS = {layer: [[0, 5], [1, 4], [2, 7], [3, 6]] for layer in (1, 2)}


def family(name: str, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, **{**SMALL, "num_local_experts": 8, "num_experts": 8, **changes})
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_the_best_pairs_are_active_with_their_own_probabilities():
    model = deepseek_model(routed_scaling_factor=16.0)
    logits = {}
    for layer in (1, 2):
        model.model.layers[layer].mlp.gate.register_forward_hook(
            lambda m, a, out, layer=layer: logits.update({layer: out[0]})
        )
    with routed_to_groups(model, PAIRS, active_experts=4), RoutingTap(model).record() as routing, torch.no_grad():
        model(IDS)
    for layer in (1, 2):
        probabilities = logits[layer].softmax(-1)
        for token, (ids, gates) in enumerate(
            zip(routing[layer].top_k_index.tolist(), routing[layer].top_k_weights, strict=True)
        ):
            means = [probabilities[token, pair].mean().item() for pair in PAIRS[layer]]
            best = sorted(range(4), key=lambda g: -means[g])[:2]
            assert ids == [expert for g in best for expert in PAIRS[layer][g]]
            torch.testing.assert_close(gates, 16.0 * probabilities[token, ids])


def test_groups_of_one_with_the_models_own_number_change_nothing():
    model = deepseek_model()
    singles = {layer: [[expert] for expert in range(8)] for layer in (1, 2)}
    with torch.no_grad():
        expected = model(IDS).logits
        with routed_to_groups(model, singles, active_experts=2):
            torch.testing.assert_close(model(IDS).logits, expected, rtol=1e-5, atol=1e-5)


def test_one_in_eight_is_active_by_default():
    model = deepseek_model(n_routed_experts=16)
    pairs = {layer: [[2 * g, 2 * g + 1] for g in range(8)] for layer in (1, 2)}
    assert install_grouped_routing(model, pairs).active_experts == 2
    with RoutingTap(model).record() as routing, torch.no_grad():
        model(IDS)
    assert routing[1].top_k_index.shape == (30, 2)


@pytest.mark.parametrize("name", ["olmoe", "qwen3_moe", "mixtral", "gpt_oss"])
def test_families_are_told_apart_by_what_their_routers_do(name):
    model = family(name, norm_topk_prob=name == "qwen3_moe")
    traits = router_traits(model)[0]
    assert traits.function == "softmax" and traits.scale == 1.0
    assert traits.renormalized == (name != "olmoe")
    pairs = dict.fromkeys((0, 1), PAIRS[1])
    with routed_to_groups(model, pairs, active_experts=4), RoutingTap(model).record() as routing, torch.no_grad():
        model(IDS % 64)
    sums = routing[0].top_k_weights.sum(-1)
    assert torch.allclose(sums, torch.ones(30)) == traits.renormalized
    for row in routing[0].top_k_index.tolist():
        assert [sorted(row[:2]), sorted(row[2:])] == [pair for pair in (row[:2], row[2:]) if pair in PAIRS[1]]


def test_a_router_that_is_bound_to_groups_of_its_own_is_refused():
    model = deepseek_model(topk_method="group_limited_greedy", n_group=4, topk_group=1)
    with pytest.raises(GroupedRoutingError, match=r"layer 1: .*one probability per expert"):
        install_grouped_routing(model, PAIRS, 4)
    assert grouped_routing(model) is None


def test_two_banks_lora_and_the_routers_gradient_follow_the_new_routing():
    model = deepseek_model().requires_grad_(True)
    install_grouped_routing(model, PAIRS, 4)
    expected = model(IDS, labels=IDS)
    expected.loss.backward()
    router = model.model.layers[1].mlp.gate.weight
    assert router.grad is not None and router.grad.abs().sum() > 0
    install_banks(model.requires_grad_(False), {1: [0, 5], 2: [3, 6]})
    torch.testing.assert_close(model(IDS).logits, expected.logits, rtol=1e-5, atol=1e-5)
    remove_banks(model)
    attach_lora(model, 2, 2.0, ["routed experts", "attention"])
    torch.testing.assert_close(model(IDS).logits, expected.logits, rtol=1e-5, atol=1e-5)
    detach_lora(model)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputed_layers_route_alike(use_reentrant):
    plain, checkpointed = deepseek_model().requires_grad_(True), deepseek_model().requires_grad_(True).train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    for model in (plain, checkpointed):
        install_grouped_routing(model, PAIRS, 4)
        model(IDS, labels=IDS, use_cache=False).loss.backward()
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7, msg=name)


def test_generation_with_cache_goes_through_the_groups():
    model = deepseek_model()
    options = dict(max_new_tokens=8, do_sample=False, attention_mask=torch.ones_like(IDS))
    install_grouped_routing(model, PAIRS, 4)
    with RoutingTap(model).record() as routing:
        cached = model.generate(IDS, **options)
    assert torch.equal(cached, model.generate(IDS, use_cache=False, **options))
    assert routing[2].top_k_index.shape[1] == 4


def test_removal_leaves_everything_as_it_was():
    model = deepseek_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fingerprint = model_fingerprint(model)
    with torch.no_grad():
        expected = model(IDS).logits
        install_grouped_routing(model, PAIRS, 4)
        assert model_fingerprint(model) != fingerprint
        assert not torch.equal(model(IDS).logits, expected)
        remove_grouped_routing(model)
        remove_grouped_routing(model)
        assert torch.equal(model(IDS).logits, expected)
    assert model_fingerprint(model) == fingerprint
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_copy_has_a_routing_of_its_own():
    model = deepseek_model()
    install_grouped_routing(model, PAIRS, 4)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(IDS).logits
        assert torch.equal(twin(IDS).logits, expected)
        remove_grouped_routing(twin)
        assert not torch.equal(twin(IDS).logits, expected)
        assert torch.equal(model(IDS).logits, expected)


@pytest.mark.parametrize(
    ("groups", "active", "message"),
    [
        ({1: PAIRS[1]}, 4, r"groups are given for layers \[1\]; this model's MoE layers are \[1, 2\]"),
        (PAIRS | {2: [[0, 1], [2, 3], [4, 5], [6, 6]]}, 4, "layer 2: the groups do not hold each of its 8 experts"),
        (PAIRS | {2: [[0, 1, 2, 3], [4, 5, 6, 7]]}, 4, r"sizes \[2, 4\]"),
        (PAIRS, 3, "3 active experts are no whole number of groups of 2"),
        (PAIRS, None, "1 active experts are no whole number"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, active, message):
    model = deepseek_model()
    with pytest.raises(ValueError, match=message):
        install_grouped_routing(model, groups, active)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
