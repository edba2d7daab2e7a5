"""The routing tap against the router's own output; padding, checkpointing and generation."""

import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.moe import RoutingTap, install_banks
from esft_lightning.strategies.lora import attach_lora

IDS = torch.randint(3, 96, (3, 10), generator=torch.Generator().manual_seed(0))


def router_outputs(model, **inputs):
    """What each router module itself returned: (weights, index) by layer."""
    seen, handles = {}, []
    for layer in (1, 2):
        gate = model.model.layers[layer].mlp.gate
        handles.append(gate.register_forward_hook(lambda m, a, out, layer=layer: seen.update({layer: out[1:]})))
    model(**inputs)
    for handle in handles:
        handle.remove()
    return seen


def test_equals_the_routers_own_output():
    model = deepseek_model()
    with RoutingTap(model).record() as routing, torch.no_grad():
        expected = router_outputs(model, input_ids=IDS)
    assert routing.keys() == {1, 2}
    for layer, (weights, index) in expected.items():
        assert torch.equal(routing[layer].top_k_index, index)
        assert torch.equal(routing[layer].top_k_weights, weights)


def test_padding_is_masked():
    model = deepseek_model()
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    mask[2, :7] = 0
    tap = RoutingTap(model)
    with tap.record() as everything, torch.no_grad():
        model(IDS)
    with tap.record(mask.bool()) as explicit, torch.no_grad():
        model(IDS)
    assert explicit[1].top_k_index.shape == (19, 2)
    assert torch.equal(explicit[1].top_k_index, everything[1].top_k_index[mask.flatten().bool()])
    with tap.record() as inferred, torch.no_grad():
        model(IDS, attention_mask=mask)
    assert inferred[2].top_k_index.shape == (19, 2)


def test_the_mask_must_fit():
    model = deepseek_model()
    with (
        pytest.raises(ValueError, match="7 entries, the pass has 30 tokens"),
        RoutingTap(model).record(torch.ones(7, dtype=torch.bool)),
    ):
        model(IDS)
    with RoutingTap(model).record() as routing, torch.no_grad():
        model(IDS)  # the failed pass left no hook behind
    assert routing[1].top_k_index.shape == (30, 2)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_counts_once(use_reentrant):
    model = deepseek_model().train()
    install_banks(model, {1: [0], 2: [1]})
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model.enable_input_require_grads()
    with RoutingTap(model).record() as routing:  # backward inside the block, where layers run again
        model(IDS, labels=IDS, use_cache=False).loss.backward()
    assert routing[1].top_k_index.shape == routing[2].top_k_index.shape == (30, 2)


def test_counts_when_the_decoder_is_called_without_the_head():
    model = deepseek_model()
    with RoutingTap(model).record() as routing, torch.no_grad():
        model.model(IDS)
    assert routing[2].top_k_index.shape == (30, 2)


def test_generation_appends_each_step_and_skips_padding():
    model = deepseek_model()
    mask = torch.ones_like(IDS)
    mask[1, :3] = 0
    with RoutingTap(model).record() as routing:
        model.generate(IDS, attention_mask=mask, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert routing[1].top_k_index.shape[0] == 27 + 3 * 3  # the prompt's real tokens, then three steps of three


def test_reads_through_lora_wrappers():
    model = deepseek_model()
    with RoutingTap(model).record() as bare, torch.no_grad():
        model(IDS)
    attach_lora(model, 2, 2.0, ["attention", "routed experts"])
    with RoutingTap(model).record() as wrapped, torch.no_grad():
        model(IDS)
    assert torch.equal(bare[1].top_k_index, wrapped[1].top_k_index)


def test_nothing_is_listened_to_outside_the_block():
    model = deepseek_model()
    tap = RoutingTap(model)
    with tap.record():
        pass
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
