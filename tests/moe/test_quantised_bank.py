"""Experts in fewer bits: how near they are, what trains on them, and that everything still names the full base."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from compiled_layers import check_one_graph
from dequantized import dequantized
from layouts import LAYOUTS, save_base
from tiny_models import deepseek_model

from esft_lightning.adapters import AdapterError, load_adapter, read_adapter_config, remove_adapter, save_adapter
from esft_lightning.adapters.formats import merge_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import (
    SYNC_FREE,
    banks,
    find_moe_layers,
    install_banks,
    install_low_rank_banks,
    load_model,
    model_fingerprint,
    remove_banks,
    rounded_weight,
    widened_arithmetic,
)
from esft_lightning.moe.base_checkpoint import BaseCheckpoint
from esft_lightning.moe.quantised_bank import frozen_weight, rounded_grouped_mm
from esft_lightning.moe.rounded_weight import ROUNDED, Int8Weight, NF4Weight, full_shape
from esft_lightning.strategies import ESFTToken, FrozenExperts, FullFineTuning, LoRA, trained_parameters
from esft_lightning.strategies.groups import training_table

SELECTION = {1: [5, 2], 2: [0, 3, 7]}


@pytest.fixture
def folder(tmp_path):
    deepseek_model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(3, 96, (2, 24), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("is_transposed", [False, True])
def test_rounding_is_within_half_a_step_of_each_output_channel(is_transposed):
    full = torch.randn(3, 10, 14) * torch.logspace(-3, 2, 10)[:, None]
    full[1, 2] = 0
    weight = Int8Weight.of(full, is_transposed)
    assert weight.values.dtype == torch.int8 and weight.scale.shape == (3, 14 if is_transposed else 10)
    step = weight.scale.unsqueeze(1 if is_transposed else 2)
    assert ((dequantized(weight, is_transposed) - full).abs() <= step * 0.5001).all()
    assert weight.values.abs().amax() == 127


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nf4_rounds_blocks_to_their_largest_times_sixteen_levels(dtype):
    full = (torch.randn(3, 24, 16) * torch.logspace(-3, 2, 24)[:, None]).to(dtype)  # blocks of four rows
    weight = NF4Weight.of(full, False)
    assert full_shape(weight.values) == full.shape and weight.scale.shape == (3, 6)
    assert weight.values.nbytes + weight.scale.nbytes == full.numel() * (0.5 + 4 / 64)
    blocks = full.float().view(3, 6, 64)
    assert torch.equal(weight.scale, blocks.abs().amax(dim=2))
    levels = weight.of_all(torch.float32).view(3, 6, 64) / weight.scale[:, :, None]
    assert levels.mul(1e4).round().unique().numel() == 16
    assert ((levels - blocks / weight.scale[:, :, None]).abs() <= 0.16).all()  # half of the widest gap
    for expert in range(3):
        one = weight.of_expert(expert, torch.empty(0, dtype=dtype))
        assert torch.equal(one, weight.of_all(dtype)[expert])


@pytest.mark.parametrize("shape", [(2, 6, 16), (2, 64, 3)], ids=["blocks", "rows"])
def test_nf4_refuses_what_is_no_whole_number_of_blocks(shape):
    with pytest.raises(ValueError, match=r"blocks of 64 .* int8 takes any"):
        NF4Weight.of(torch.randn(shape), False)


def test_nf4_without_its_package_is_refused_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(rounded_weight, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install '\.\[nf4\]'"):
        load_model(tmp_path / "nowhere", quantize_experts="nf4")


@pytest.mark.parametrize("quantisation", ROUNDED)
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("compiled_form", [False, True], ids=["by expert", "at once"])
def test_product_and_gradient_equal_the_dequantised_weight(quantisation, is_transposed, compiled_form, monkeypatch):
    torch.manual_seed(0)
    weight = ROUNDED[quantisation].of(torch.randn(4, 16, 24), is_transposed)
    sizes = (16, 24) if is_transposed else (24, 16)
    x, gradient = torch.randn(20, sizes[0], requires_grad=True), torch.randn(20, sizes[1])
    offsets = torch.tensor([7, 7, 15, 20], dtype=torch.int32)  # one expert has no rows
    if compiled_form:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    y = rounded_grouped_mm(x, weight, offsets, is_transposed)
    (found,) = torch.autograd.grad(y, x, gradient)
    full = dequantized(weight, is_transposed)
    full = full if is_transposed else full.transpose(1, 2)
    starts = [0, *offsets.tolist()]
    expected = torch.cat([x[a:b] @ full[e] for e, (a, b) in enumerate(pairwise(starts))])
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, torch.autograd.grad(expected, x, gradient)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quantisation", ROUNDED)
@pytest.mark.parametrize("has_arithmetic", [False, True])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_products_in_bf16_whether_the_cpu_multiplies_in_it_or_not(
    monkeypatch, is_transposed, has_arithmetic, quantisation
):
    monkeypatch.setattr(widened_arithmetic, "_cpu_computes", lambda dtype: has_arithmetic)
    weight = ROUNDED[quantisation].of(torch.randn(2, 16, 24), is_transposed)
    full = dequantized(weight, is_transposed)
    full = full if is_transposed else full.transpose(1, 2)
    x = torch.randn(12, full.shape[1], dtype=torch.bfloat16, requires_grad=True)
    gradient = torch.randn(12, full.shape[2], dtype=torch.bfloat16)
    y = rounded_grouped_mm(x, weight, torch.tensor([5, 12], dtype=torch.int32), is_transposed)
    (found,) = torch.autograd.grad(y, x, gradient)
    wide = x.detach().float().requires_grad_()
    expected = torch.cat([wide[:5] @ full[0], wide[5:] @ full[1]])
    (by_rows,) = torch.autograd.grad(expected, wide, gradient.float())
    assert y.dtype == found.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=2e-2, atol=2e-2 * float(expected.detach().abs().max()))
    torch.testing.assert_close(found.float(), by_rows, rtol=2e-2, atol=2e-2 * float(by_rows.abs().max()))


@pytest.mark.parametrize(("quantisation", "near"), [("int8", 0.02), ("nf4", 0.25)])
@pytest.mark.parametrize("family", ["deepseek_v2", "qwen2_moe", "gpt_oss", "granitemoe", "nemotron_h"])
def test_a_model_is_near_its_full_self_in_every_layout(tmp_path, family, quantisation, near):
    """Transposed, interleaved, with biases, without a gate."""
    base = save_base(tmp_path, family)
    full, small = load_model(base), load_model(base, quantize_experts=quantisation)
    with torch.no_grad():
        expected, found = full(tokens()).logits, small(tokens()).logits
    assert 0 < (found - expected).abs().mean() < near * expected.abs().mean()
    for mine, theirs in zip(find_moe_layers(small), find_moe_layers(full), strict=True):
        held = {name: value for name, value in mine.experts.named_parameters() if value.dim() == 3}
        assert held and not any(value.is_floating_point() for value in held.values())
        for name in held:
            weight = dequantized(frozen_weight(mine.experts, name), mine.experts.is_transposed)
            assert weight.shape == theirs.experts.get_parameter(name).shape
            theirs.experts.get_parameter(name).data.copy_(weight)
    with torch.no_grad():
        torch.testing.assert_close(found, full(tokens()).logits, rtol=1e-4, atol=1e-4)
    assert training_table(small.requires_grad_(False)) == training_table(full.requires_grad_(False))


@pytest.mark.parametrize("quantisation", ROUNDED)
@pytest.mark.parametrize("family", LAYOUTS)
def test_selected_experts_are_the_checkpoints_own(tmp_path, family, quantisation):
    """In every layout: stored one by one, under any names, or fused."""
    base = save_base(tmp_path, family)
    full, model = load_model(base), load_model(base, quantize_experts=quantisation)
    selection = {entry.layer: [3, 1] for entry in find_moe_layers(full)}
    expected = install_banks(full, selection)
    for layer, bank in install_banks(model, selection).items():
        for name, value in bank.named_parameters():
            assert torch.equal(value, expected[layer].get_parameter(name)), name


def test_only_the_selected_experts_are_read_again(folder, monkeypatch):
    model = load_model(folder, quantize_experts="int8")
    read, original = [], BaseCheckpoint.read
    monkeypatch.setattr(BaseCheckpoint, "read", lambda self, unit: read.extend(unit.keys) or original(self, unit))
    install_banks(model, {1: [5]})
    assert len(read) == 3 and all(".1.mlp.experts.5." in key for key in read)


def test_all_experts_selected_compute_as_the_full_model(folder):
    every = {1: list(range(8)), 2: list(range(8))}
    model, full = load_model(folder, quantize_experts="int8"), load_model(folder)
    install_banks(model, every)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens()).logits, full(tokens()).logits, rtol=1e-5, atol=1e-5)
    remove_banks(model)
    with torch.no_grad():
        assert not torch.equal(model(tokens()).logits, full(tokens()).logits)  # int8 again


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_low_rank_banks_start_from_full_rows(folder, quantisation):
    model, full = load_model(folder, quantize_experts=quantisation), load_model(folder)
    install_low_rank_banks(model, {1: [3]})
    assert torch.equal(dict(banks(model))[1].weight("down_proj"), full.model.layers[1].mlp.experts.down_proj[[3]])


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_backward_saves_no_widened_weight(folder, quantisation):
    model = load_model(folder, quantize_experts=quantisation).requires_grad_(False)
    install_banks(model, SELECTION)
    shapes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append((tuple(t.shape), t.dtype)) or t, lambda t: t):
        loss = model(tokens(), labels=tokens()).loss
    loss.backward()
    kept = {"int8": torch.int8, "nf4": torch.uint8}[quantisation]
    widened = [shape for shape, dtype in shapes if len(shape) == 3 and shape[0] == 8 and dtype != kept]
    assert not widened and any(dtype == kept for _, dtype in shapes)
    assert all(parameter.grad is not None for parameter in trained_parameters(model).values())


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_the_compiled_sync_free_path_is_one_graph_and_gives_the_same_gradients(tmp_path, quantisation):
    deepseek_model(dtype=torch.bfloat16).save_pretrained(tmp_path)
    model = load_model(tmp_path, quantize_experts=quantisation).requires_grad_(False)
    install_banks(model, SELECTION)
    model.set_experts_implementation(SYNC_FREE)
    check_one_graph(model.model.layers[1].mlp, 32)


def test_200_steps_end_within_one_percent_of_the_full_run(folder):
    """In fp32 and on the same batches, so that the difference is int8's alone."""

    def train(quantize_experts) -> float:
        model = load_model(folder, quantize_experts=quantize_experts)
        ESFTToken(learning_rate=1e-3).apply(model, ExpertSelection(SELECTION)).train()
        optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=1e-3)
        for step in range(200):
            loss = model(tokens(step % 4), labels=tokens(step % 4)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            return sum(float(model(tokens(i), labels=tokens(i)).loss) for i in range(4)) / 4

    with torch.no_grad():
        start = float(load_model(folder)(tokens(), labels=tokens()).loss)
    full, small = train(None), train("int8")
    assert full < 0.9 * start, "training must have moved the loss"
    assert small == pytest.approx(full, rel=0.01)


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_frozen_rounded_experts_do_not_change(folder, quantisation):
    model = load_model(folder, quantize_experts=quantisation).requires_grad_(False)
    install_banks(model, SELECTION)
    before = {name: value.clone() for name, value in model.state_dict().items() if ".trained_bank." not in name}
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=1e-2, weight_decay=0.1)
    model(tokens(), labels=tokens()).loss.backward()
    optimizer.step()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_fingerprint_adapter_and_merge_name_the_full_base(folder, tmp_path, quantisation):
    model, full = load_model(folder, quantize_experts=quantisation), load_model(folder)
    name = model_fingerprint(full)
    assert model_fingerprint(model) == name
    selection = ExpertSelection(SELECTION)
    ESFTToken().apply(model, selection)
    with torch.no_grad():
        for _, bank in banks(model):
            for parameter in bank.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    facts = {"strategy": "ESFTToken", "base": str(folder), "base_fingerprint": name, "selection": selection}
    adapter = save_adapter(model, tmp_path / "adapter", **facts)
    assert read_adapter_config(adapter)["quantized_experts"] == quantisation
    merged = load_model(merge_adapter(folder, adapter, tmp_path / "merged"))
    load_adapter(full, adapter)
    with torch.no_grad():
        torch.testing.assert_close(merged(tokens()).logits, full(tokens()).logits, rtol=1e-5, atol=1e-5)
    again = load_model(folder, quantize_experts=quantisation)
    bare = again(tokens()).logits
    load_adapter(again, adapter)
    with torch.no_grad():
        assert torch.equal(again(tokens()).logits, model(tokens()).logits)
    remove_adapter(again)
    assert torch.equal(again(tokens()).logits, bare)


@pytest.mark.parametrize("quantisation", ROUNDED)
def test_a_copy_computes_the_same(folder, quantisation):
    model = load_model(folder, quantize_experts=quantisation)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        assert torch.equal(twin(tokens()).logits, model(tokens()).logits)
    install_banks(twin, SELECTION)
    assert next(banks(model), None) is None


@pytest.mark.parametrize("strategy", [FullFineTuning(), LoRA()], ids=lambda s: s.name)
def test_strategies_that_change_every_expert_are_refused(folder, strategy):
    with pytest.raises(ValueError, match="quantize_experts"):
        strategy.apply(load_model(folder, quantize_experts="int8"))


@pytest.mark.parametrize("strategy", [FrozenExperts(), LoRA(parts=["attention"])], ids=lambda s: s.name)
def test_strategies_that_leave_experts_alone_train(folder, strategy):
    model = strategy.apply(load_model(folder, quantize_experts="int8"))
    model(tokens(), labels=tokens()).loss.backward()
    assert any(parameter.grad is not None for parameter in trained_parameters(model).values())


@pytest.mark.parametrize("strategy", [FullFineTuning(), LoRA()], ids=lambda s: s.name)
def test_adapters_that_change_every_expert_are_refused(folder, tmp_path, strategy):
    full = load_model(folder)
    name = model_fingerprint(full)
    strategy.apply(full)
    adapter = save_adapter(full, tmp_path / "a", strategy=strategy.name, base=str(folder), base_fingerprint=name)
    model = load_model(folder, quantize_experts="int8")
    before = model(tokens()).logits
    with pytest.raises(AdapterError, match="without quantize_experts"):
        load_adapter(model, adapter)
    assert torch.equal(model(tokens()).logits, before)


def test_saving_a_rounded_model_and_random_weights_are_refused(folder, tmp_path):
    with pytest.raises(RuntimeError, match="rounded"):
        load_model(folder, quantize_experts="int8").save_pretrained(tmp_path / "out")
    with pytest.raises(ValueError, match="random_weights"):
        load_model(folder, random_weights=True, quantize_experts="int8")
