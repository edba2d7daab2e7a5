"""fp32 masters in a bf16 model: forwards, gradients and generation are the bf16 model's, weights are fp32 leaves."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from tiny_models import deepseek_model
from torch import nn

from esft_lightning.moe import (
    base_dtype,
    copies_kept,
    copies_not_kept,
    experts_dtype,
    find_moe_layers,
    install_banks,
    keep_masters,
    reads_packed_samples_apart,
    recompute_layers,
    release_masters,
    trains_in_fp32,
    widen_linears,
    widened_arithmetic,
)
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.moe.two_bank import set_bare_implementation
from esft_lightning.strategies import group_parameters

IDS = torch.randint(3, 96, (2, 24), generator=torch.Generator().manual_seed(0))
BATCH = {"input_ids": IDS, "labels": IDS}


def with_masters(trains=lambda name: True, **changes) -> tuple[nn.Module, nn.Module]:
    """A bf16 model with masters, and the same one without."""
    model = deepseek_model(dtype=torch.bfloat16, **changes)
    model.tie_weights()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name))
    bare = copy.deepcopy(model)
    keep_masters(model)
    return model, bare


def backward(model) -> torch.Tensor:
    loss = LabelledTokenLoss(model)(BATCH).total
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("widened", [False, True], ids=["bf16 arithmetic", "widened"])
def test_loss_and_gradients_are_those_of_the_bf16_model(tied, checkpointing, widened, monkeypatch):
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: not widened or dtype == torch.float32)
    models = with_masters(tie_word_embeddings=tied)
    for model in models:
        widen_linears(model)
        set_bare_implementation(model)
        if checkpointing:
            recompute_layers(model.train())
    model, bare = models
    assert torch.equal(backward(model), backward(bare))
    assert isinstance(model.lm_head.weight, nn.Parameter), "recomputation, which is cut short, has left every forward"
    for (name, master), (same_name, weight) in zip(model.named_parameters(), bare.named_parameters(), strict=True):
        assert name == same_name and master.dtype == torch.float32 and master.is_leaf
        assert master.grad.dtype == torch.float32
        # Embedding rows of one token add up in fp32 instead of bf16; widened products' gradients are not rounded.
        error = (master.grad - weight.grad.float()).norm() / weight.grad.float().norm()
        assert error <= 5e-3, (name, error)


def test_outside_of_a_forward_a_master_is_an_ordinary_parameter():
    model, bare = with_masters()
    head = model.lm_head
    assert isinstance(head.weight, nn.Parameter) and head.weight is model.get_parameter("lm_head.weight")
    assert model.get_output_embeddings().weight.dtype == torch.float32
    assert type(head).__name__ == "Linear" and isinstance(head, nn.Linear)
    assert group_parameters(model) == group_parameters(bare)
    assert model.state_dict().keys() == bare.state_dict().keys()
    with torch.no_grad():
        head.weight.zero_()  # reaches the parameter itself
    assert not model(IDS).logits.any()
    seen = []
    head.register_forward_pre_hook(lambda module, args: seen.append(module.weight.dtype))
    model(IDS)
    assert seen == [torch.bfloat16]
    assert base_dtype(head, "weight") == experts_dtype(find_moe_layers(model)[0].experts) == torch.bfloat16


def test_tied_weights_share_one_master():
    model, _ = with_masters(tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    before = model(IDS).logits
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    assert not torch.allclose(model(IDS).logits, before)
    release_masters(model)
    assert model.lm_head.weight is model.model.embed_tokens.weight and model.lm_head.weight.dtype == torch.bfloat16


def test_only_what_trains_gets_one():
    model, _ = with_masters(lambda name: "norm" in name)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert {dtype for name, dtype in dtypes.items() if "norm" in name} == {torch.float32}
    assert {dtype for name, dtype in dtypes.items() if "norm" not in name} == {torch.bfloat16}
    nothing = deepseek_model(dtype=torch.bfloat16).requires_grad_(False)
    keep_masters(nothing)
    assert not nothing._forward_hooks and not trains_in_fp32(nothing)
    whole = deepseek_model().requires_grad_(True)
    keep_masters(whole)  # fp32 already
    assert not whole._forward_hooks and not trains_in_fp32(whole)


class Kernel(nn.Module):
    """A module whose forward hands a child's weights to a function of its own, and looks at their dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, groups=4, padding=2)
        self.scale = nn.Parameter(torch.ones(4))
        self.pair = nn.ParameterList([torch.ones(4), torch.zeros(4)])

    def forward(self, x):
        x = x.to(self.conv.weight.dtype)
        y = nn.functional.conv1d(x, self.conv.weight, self.conv.bias, padding=2, groups=4)
        return y * self.scale[:, None] * self.pair[0][:, None] + self.pair[1][:, None]


def test_modules_that_read_each_others_weights():
    torch.manual_seed(0)
    bare = nn.Sequential(Kernel(), nn.Sequential(Kernel())).to(torch.bfloat16)
    model = copy.deepcopy(bare)
    keep_masters(model)
    x = torch.randn(2, 4, 9, dtype=torch.bfloat16)
    out = model(x)
    assert out.dtype == torch.bfloat16 and torch.equal(out, bare(x))
    out.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
    assert torch.equal(model[1](x), bare[1](x))  # a part by itself
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_forward_that_fails_leaves_masters_to_be_read_as_they_are():
    model, _ = with_masters()
    with pytest.raises(IndexError):
        model(torch.full((1, 3), 10**6))
    assert model.lm_head.weight.dtype == torch.float32
    assert model(IDS).logits.dtype == torch.bfloat16


def test_a_deep_copy_has_masters_of_its_own():
    model, bare = with_masters()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(twin(IDS).logits, bare(IDS).logits)
    release_masters(model)
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
    assert torch.equal(twin(IDS).logits, bare(IDS).logits)


def test_released_it_is_the_bf16_model_again():
    model, bare = with_masters()
    release_masters(model)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert [type(module) for module in model.modules()] == [type(module) for module in bare.modules()]
    for mine, theirs in zip(model.parameters(), bare.parameters(), strict=True):
        assert mine.dtype == torch.bfloat16 and torch.equal(mine, theirs)


def test_an_update_too_small_for_bf16_is_kept():
    model, _ = with_masters()
    weight = model.model.layers[0].self_attn.o_proj.weight
    start = weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    for _ in range(2):
        backward(model)
        optimizer.step()
    assert not torch.equal(weight, start) and torch.equal(weight.bfloat16(), start.bfloat16())


@pytest.fixture
def copies(monkeypatch) -> list[weakref.ref]:
    """The storages of all copies in bf16 that are made of parameters from here on."""
    made: list[weakref.ref] = []
    to = torch.Tensor.to

    def noted(tensor, *args, **kwargs):
        result = to(tensor, *args, **kwargs)
        if isinstance(tensor, nn.Parameter) and args == (torch.bfloat16,):
            made.append(weakref.ref(result.untyped_storage()))
        return result

    monkeypatch.setattr(torch.Tensor, "to", noted)
    return made


@pytest.mark.parametrize("kept", [True, False])
def test_rounded_copies_wait_for_backward_only_where_they_are_not_made_again(kept, copies):
    model, _ = with_masters()
    with copies_not_kept(not kept):
        loss = model(IDS, labels=IDS, use_cache=False).loss
    gc.collect()
    assert len(copies) > 20 and loss.requires_grad
    assert any(copy() is not None for copy in copies) == kept


@pytest.mark.parametrize("banks", [False, True], ids=["masters", "banks"])
def test_copies_made_again_give_the_same_gradients(banks):
    found = []
    for enabled in (False, True):
        model, _ = with_masters(lambda name: not banks)
        if banks:
            install_banks(model, {1: [5, 2], 2: [0, 3, 7]})
        with copies_not_kept(enabled):
            loss = model(IDS, labels=IDS, use_cache=False).loss
        loss.backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    assert found[0] and all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_the_loss_keeps_no_copies_and_knows_when():
    model, bare = with_masters()
    assert trains_in_fp32(model) and not trains_in_fp32(bare)
    bank = deepseek_model(dtype=torch.bfloat16).requires_grad_(False)
    install_banks(bank, {1: [0]})
    assert trains_in_fp32(bank)
    assert not trains_in_fp32(deepseek_model())


def test_generation_is_the_bf16_models_and_makes_each_copy_once(copies):
    model, bare = with_masters()
    wanted = bare.generate(IDS, max_new_tokens=6, do_sample=False, pad_token_id=0)
    counts = []
    for new_tokens in (2, 6):
        copies.clear()
        with copies_kept(), torch.no_grad():
            answer = model.generate(IDS, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0)
        counts.append(len(copies))
    assert torch.equal(answer, wanted)
    assert counts[0] == counts[1] > 20


def test_a_kept_copy_follows_its_weight():
    model, _ = with_masters()
    with copies_kept(), torch.no_grad():
        before = model(IDS).logits
        model.model.norm.weight.mul_(2)
        after = model(IDS).logits
        model.model.norm.weight.data = model.model.norm.weight.data / 2
        assert torch.equal(model(IDS).logits, before) and not torch.equal(after, before)


def test_masters_compile_into_one_graph():
    """An MoE block: its router's weight is read by the block itself, its experts are fused."""
    block, bare = (model.model.layers[1].mlp for model in with_masters())
    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    hidden = torch.randn(2, 24, 32, dtype=torch.bfloat16)
    outs = []
    for one in (compiled, bare):
        with copies_not_kept():
            outs.append(one(hidden))
        outs[-1].float().pow(2).sum().backward()
    torch.testing.assert_close(*outs, rtol=2e-2, atol=2e-2)
    for master, weight in zip(block.parameters(), bare.parameters(), strict=True):
        assert (master.grad - weight.grad.float()).norm() <= 0.02 * weight.grad.float().norm()


def test_packed_samples_are_looked_at_in_the_dtype_that_is_computed_in():
    model, bare = with_masters()
    assert reads_packed_samples_apart(model) and reads_packed_samples_apart(bare)
