"""Layers below the first trained expert keep nothing for backward and get no backward pass: counted, layer by layer."""

from __future__ import annotations

import weakref
from collections import Counter

import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import recompute_layers
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.strategies import ESFTToken, trained_parameters

LAYERS = 4


class Kept:
    """A tensor that autograd holds, as long as it holds it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class Counted:
    """What one training step did, by layer."""

    def __init__(self) -> None:
        self.forwards: Counter[int] = Counter()
        self.backwards: Counter[int] = Counter()  # gradients that reached a layer's output
        self.saved: Counter[int] = Counter()  # tensors that autograd holds after the forward, weights not counted
        self.needed_gradient: dict[int, bool] = {}


def count_step(model) -> Counted:
    """One forward and backward of the loss that training uses."""
    counted, inside = Counted(), []
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def enter(layer):
        def hook(module, args):
            inside.append(layer)

        return hook

    def leave(layer):
        def hook(module, args, output):
            inside.pop()
            hidden = output[0] if isinstance(output, tuple) else output
            counted.needed_gradient.setdefault(layer, hidden.requires_grad)
            if hidden.requires_grad:
                hidden.register_hook(lambda gradient: counted.backwards.update([layer]))

        return hook

    held = []  # what autograd may still hold, by layer

    def pack(tensor):
        kept = Kept(tensor)
        if inside and tensor.untyped_storage().data_ptr() not in weights:
            held.append((inside[-1], weakref.ref(kept)))
        return kept

    handles = []
    for number, layer in enumerate(model.model.layers):
        handles += [layer.register_forward_pre_hook(enter(number)), layer.register_forward_hook(leave(number))]
        # Transformers checkpoints below a layer's own hooks, so its runs are counted at its attention.
        handles.append(layer.self_attn.register_forward_pre_hook(lambda *_, n=number: counted.forwards.update([n])))
    ids = torch.randint(3, 96, (2, 24), generator=torch.Generator().manual_seed(0))
    loss = LabelledTokenLoss(model)
    counted.forwards.clear()
    counted.needed_gradient.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        total = loss({"input_ids": ids, "labels": ids}).total
    counted.saved.update(layer for layer, kept in held if kept() is not None)
    total.backward()
    for handle in handles:
        handle.remove()
    return counted


def adapted(first: int, gradient_checkpointing: bool):
    """A model of four layers (0 dense, 1–3 routed) whose experts train from layer `first` on."""
    model = deepseek_model(num_hidden_layers=LAYERS)
    if gradient_checkpointing:
        recompute_layers(model)
    selection = ExpertSelection({layer: [1, 4] for layer in range(first, LAYERS)})
    return ESFTToken().apply(model, selection).train()


@pytest.mark.parametrize("gradient_checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("first", [1, 2, 3])
def test_layers_below_the_first_trained_expert_only_run_forward(first, gradient_checkpointing):
    model = adapted(first, gradient_checkpointing)
    counted = count_step(model)
    for layer in range(LAYERS):
        trains = layer >= first
        assert counted.needed_gradient[layer] == trains, layer
        assert bool(counted.backwards[layer]) == trains, layer
        # A recomputed layer runs again in backward; those below the first trained one do not.
        assert counted.forwards[layer] == (2 if gradient_checkpointing and trains else 1), layer
        if not trains:
            assert counted.saved[layer] == 0, layer
        elif not gradient_checkpointing:
            assert counted.saved[layer] > 0, layer
    assert all(parameter.grad is not None for parameter in trained_parameters(model).values())


def test_the_count_sees_a_layer_that_is_kept():
    """Where the embeddings train every layer keeps activations: the counting above can fail."""
    model = adapted(3, gradient_checkpointing=False)
    model.get_input_embeddings().requires_grad_(True)
    counted = count_step(model)
    assert all(counted.saved[layer] > 0 and counted.backwards[layer] for layer in range(LAYERS))


def test_checkpointing_keeps_one_tensor_a_layer():
    """What a recomputed layer keeps alive until backward is its input alone."""
    counted = count_step(adapted(1, gradient_checkpointing=True))
    plain = count_step(adapted(1, gradient_checkpointing=False))
    assert all(counted.saved[layer] <= 2 < plain.saved[layer] for layer in range(1, LAYERS)), counted.saved
