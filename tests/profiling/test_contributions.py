"""What each chosen expert adds, against a loop over tokens and experts."""

import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.moe import RoutingTap, find_moe_layers
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.profiling.contributions import MEASURES, ContributionTap


@pytest.fixture(scope="module")
def measured():
    """A pass over two rows with some padding: the model, layer inputs, routing, measures, and the loss's gradients."""
    model = deepseek_model().requires_grad_(False)
    ids = torch.randint(3, 96, (2, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 9:] = False
    labels = torch.where(mask, ids, -100)
    seen = {}
    loss = LabelledTokenLoss(model)

    def watch(layer):
        def hook(module, args, output):
            seen[layer] = (args[0].detach().reshape(-1, args[0].shape[-1]), output)
            output.retain_grad()

        return hook

    tap, contributions = RoutingTap(model), ContributionTap(model, MEASURES)
    with tap.record(torch.ones_like(mask)) as routing, contributions.record(mask) as values:
        handles = [e.experts.register_forward_hook(watch(e.layer)) for e in find_moe_layers(model)]
        loss({"input_ids": ids, "labels": labels}).total.backward()
        for handle in handles:
            handle.remove()
    return model, seen, routing, values, mask.reshape(-1)


def expert_of(experts, expert, x):
    gate, up = (experts.gate_up_proj[expert] @ x).chunk(2)
    hidden = experts.act_fn(gate) * up
    return hidden, experts.down_proj[expert] @ hidden


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_equal_a_loop_over_tokens_and_experts(measured, measure):
    model, seen, routing, values, kept = measured
    for entry in find_moe_layers(model):
        inputs, output = seen[entry.layer]
        gradient = output.grad.reshape(-1, output.shape[-1])
        expected = []
        for token in kept.nonzero().flatten().tolist():
            row = []
            for slot in range(2):
                gate = routing[entry.layer].top_k_weights[token, slot]
                hidden, out = expert_of(entry.experts, routing[entry.layer].top_k_index[token, slot], inputs[token])
                row.append(
                    {
                        "gate_norm": gate * out.norm(),
                        "activation": gate * hidden.abs().mean(),
                        "fisher": (gate * (gradient[token] @ out)) ** 2,
                    }[measure]
                )
            expected.append(torch.stack(row))
        torch.testing.assert_close(values[entry.layer][measure], torch.stack(expected), rtol=1e-4, atol=1e-8)


def test_nothing_the_model_computes_changes(measured):
    model, *_ = measured
    ids = torch.arange(3, 15).view(1, -1)
    plain = model(ids).logits
    with ContributionTap(model, MEASURES).record(torch.ones_like(ids, dtype=torch.bool)):
        inside = model(ids).logits
    assert torch.equal(plain, inside)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="unknown measures \\['beauty'\\]"):
        ContributionTap(deepseek_model(), ["beauty"])
