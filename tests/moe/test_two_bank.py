"""Two-bank experts against the stock implementation, in outputs, gradients and what stays untouched."""

import copy

import pytest
import torch
from compiled_layers import check_one_graph
from tiny_models import deepseek_model, written_back

from benchmarks.saved_activations import saved_storages
from esft_lightning.moe import SYNC_FREE, banks, install_banks, remove_banks
from esft_lightning.moe.two_bank import sync_free_experts_forward, two_bank_experts_forward
from esft_lightning.strategies import trained_parameters

SELECTIONS = {
    "some": {1: [5, 2], 2: [0, 3, 7]},
    "one": {2: [4]},
    "all": {1: list(range(8)), 2: list(range(8))},
}


def tokens(seed: int = 0, shape: tuple[int, int] = (2, 24)) -> torch.Tensor:
    return torch.randint(3, 96, shape, generator=torch.Generator().manual_seed(seed))


def with_banks(model, selection, dtype=torch.float32):
    model.requires_grad_(False)
    install_banks(model, selection, dtype)
    return model


def shake(model, scale: float = 0.05) -> None:
    """Move the trained rows away from the base's, as training would."""
    with torch.no_grad():
        for _, bank in banks(model):
            for parameter in bank.parameters():
                parameter.add_(scale * torch.randn_like(parameter))


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_output_equals_stock(selection):
    model = with_banks(deepseek_model(), selection)
    shake(model)
    stock = written_back(model)
    with torch.no_grad():
        difference = (model(tokens()).logits - stock(tokens()).logits).abs().max()
    assert difference <= 1e-5
    assert (model(tokens()).logits - deepseek_model()(tokens()).logits).abs().max() > 1e-3, "the shake must show"


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_gradients_equal_full_autograd_on_eager_experts(selection, dtype, tolerance):
    model = with_banks(deepseek_model(dtype=dtype), selection, dtype)
    shake(model)
    stock = written_back(model)
    stock.set_experts_implementation("eager")
    stock.requires_grad_(True)
    for one in (model, stock):
        one(tokens(), labels=tokens()).loss.backward()
    for layer, bank in banks(model):
        experts = stock.model.layers[layer].mlp.experts
        for name, parameter in bank.named_parameters():
            expected = experts.get_parameter(name).grad[bank.expert_ids]
            error = (parameter.grad - expected).abs().max()
            assert error <= (tolerance if dtype == torch.float64 else tolerance * expected.abs().max().clamp(min=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_experts_that_receive_no_token_get_zero_gradients(dtype):
    model = with_banks(deepseek_model(dtype=dtype), {1: [1, 6]}, dtype)
    experts = model.model.layers[1].mlp.experts
    hidden = torch.randn(10, 32, dtype=dtype, requires_grad=True)
    index = torch.tensor([0, 3]).expand(10, 2).contiguous()  # neither 1 nor 6
    out = experts(hidden, index, torch.full((10, 2), 0.5, dtype=dtype))
    (out * torch.randn_like(out)).sum().backward()
    for parameter in experts.trained_bank.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    assert hidden.grad.abs().sum() > 0

    index = torch.tensor([1, 6]).expand(10, 2).contiguous()  # only trained ones: the frozen bank has no rows
    out = experts(hidden, index, torch.full((10, 2), 0.5, dtype=dtype))
    (out * torch.randn_like(out)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in experts.trained_bank.parameters())


def test_input_and_gate_gradients_equal_stock():
    """What earlier layers and the router would receive is the same as without banks."""
    stock, model = deepseek_model(), with_banks(deepseek_model(), {1: [0, 4]})
    generator = torch.Generator().manual_seed(3)
    index = torch.rand(30, 8, generator=generator).topk(2).indices
    out_gradient = torch.randn(30, 32, generator=generator)
    values = torch.randn(30, 32, generator=generator), torch.rand(30, 2, generator=generator)
    gradients = []
    for one in (stock, model):
        hidden, gates = (value.clone().requires_grad_() for value in values)
        one.model.layers[1].mlp.experts(hidden, index, gates).backward(out_gradient)
        gradients.append((hidden.grad, gates.grad))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_frozen_experts_are_bit_identical_after_adamw_with_decay():
    model = with_banks(deepseek_model(), SELECTIONS["some"])
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=1e-2, weight_decay=0.1)
    for step in range(50):
        model(tokens(step), labels=tokens(step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) != (".trained_bank." in name), name
    selected = sum(parameter.numel() for parameter in trained_parameters(model).values())
    assert selected == 5 * 3 * 32 * 16  # five experts of three 32 x 16 projections
    state = sum(value.numel() for entry in optimizer.state.values() for value in entry.values() if value.dim() > 0)
    assert state == 2 * selected
    assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)


def test_fp32_masters_over_a_bf16_base():
    model = with_banks(deepseek_model(dtype=torch.bfloat16), SELECTIONS["some"])
    stock = deepseek_model(dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in trained_parameters(model).values()} == {torch.float32}
    with torch.no_grad():
        assert torch.equal(model(tokens()).logits, stock(tokens()).logits)
    model(tokens(), labels=tokens()).loss.backward()
    bank = dict(banks(model))[1]
    assert bank.down_proj.grad.dtype == torch.float32 and bank.down_proj.grad.any()
    start = bank.down_proj.detach().clone()
    torch.optim.SGD([bank.down_proj], lr=1e-6).step()
    moved = bank.down_proj.detach() != start
    assert moved.any() and torch.equal(bank.down_proj.detach().bfloat16(), start.bfloat16())  # finer than bf16 can hold


@pytest.mark.parametrize("bank_dtype", [torch.float32, None])
def test_autocast(bank_dtype):
    model = with_banks(deepseek_model(), SELECTIONS["some"], bank_dtype)
    stock = deepseek_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, expected = model(tokens(), labels=tokens()).loss, stock(tokens(), labels=tokens()).loss
        torch.testing.assert_close(loss, expected, rtol=1e-2, atol=1e-2)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in trained_parameters(model).values())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(use_reentrant):
    plain = with_banks(deepseek_model(), SELECTIONS["some"])
    checkpointed = copy.deepcopy(plain).train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    checkpointed.enable_input_require_grads()
    for model in (plain, checkpointed):
        model(tokens(), labels=tokens(), use_cache=False).loss.backward()
    for (name, one), other in zip(
        trained_parameters(plain).items(), trained_parameters(checkpointed).values(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-6, atol=1e-8, msg=name)


def test_generation_with_cache_equals_stock():
    model = with_banks(deepseek_model(), SELECTIONS["some"])
    shake(model)
    stock = written_back(model)
    options = dict(max_new_tokens=12, do_sample=False, attention_mask=torch.ones(2, 24, dtype=torch.long))
    assert torch.equal(model.generate(tokens(), **options), stock.generate(tokens(), **options))


def test_to_device_and_dtype_move_both_banks():
    model = with_banks(deepseek_model(), SELECTIONS["some"]).to("meta")
    bank = dict(banks(model))[1]
    assert bank.gate_up_proj.is_meta and bank.sort_key.is_meta
    double = with_banks(deepseek_model(), SELECTIONS["some"]).to(torch.float64)
    assert dict(banks(double))[1].down_proj.dtype == torch.float64
    assert double(tokens()).logits.isfinite().all()


def test_state_dict_round_trip_and_deepcopy():
    model = with_banks(deepseek_model(), SELECTIONS["some"])
    shake(model)
    other = with_banks(deepseek_model(seed=1), SELECTIONS["some"])
    other.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(tokens()).logits
        assert torch.equal(other(tokens()).logits, expected)
        shake(model)  # the twin shares nothing with its origin
        assert torch.equal(twin(tokens()).logits, expected)
    remove_banks(twin)
    assert next(banks(model), None) is not None


def test_removal_leaves_the_base_bit_identical():
    base = deepseek_model()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    expected = base(tokens()).logits
    with_banks(base, SELECTIONS["all"])
    shake(base)
    base(tokens(), labels=tokens()).loss.backward()
    remove_banks(base)
    after = base.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(base(tokens()).logits, expected)


def test_sibling_models_keep_their_own_implementation():
    first = deepseek_model()
    second = copy.deepcopy(first)
    with_banks(first, SELECTIONS["one"])
    assert first.config._experts_implementation == "two_bank"
    assert second.config._experts_implementation == "grouped_mm"


def test_save_pretrained_is_refused_while_banks_are_installed(tmp_path):
    model = with_banks(deepseek_model(), SELECTIONS["one"])
    with pytest.raises(RuntimeError, match="save_adapter"):
        model.save_pretrained(tmp_path / "model")
    remove_banks(model)
    model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({0: [1]}, r"layers \[0\] are not MoE layers"),
        ({1: [8]}, r"layer 1: expert ids must lie in 0…7"),
        ({1: [2, 2]}, "layer 1: .*distinct"),
        ({1: [-1]}, "layer 1: expert ids must lie"),
    ],
)
def test_bad_selections_are_refused_before_anything_changes(selection, message):
    model = deepseek_model()
    with pytest.raises(ValueError, match=message):
        install_banks(model, selection)
    assert next(banks(model), None) is None and model.config._experts_implementation == "grouped_mm"


def test_installing_twice_is_refused():
    model = with_banks(deepseek_model(), SELECTIONS["one"])
    with pytest.raises(ValueError, match="remove_banks"):
        install_banks(model, SELECTIONS["one"])


def test_odd_sizes_take_the_plain_loop():
    """Row strides that the kernel refuses (here 10 floats) still compute, forward and backward."""
    model = with_banks(deepseek_model(moe_intermediate_size=10), {1: [3], 2: [0, 1]})
    stock = deepseek_model(moe_intermediate_size=10, experts_implementation="eager")
    torch.testing.assert_close(model(tokens()).logits, stock(tokens()).logits, rtol=0, atol=1e-5)
    model(tokens(), labels=tokens()).loss.backward()
    assert all(parameter.grad.any() for parameter in trained_parameters(model).values())


def test_saved_activations_shrink_with_the_share_selected():
    """What autograd keeps for backward: frozen experts must not keep the rows that only weight gradients need."""

    def saved_bytes(model) -> int:
        with saved_storages(model.parameters()) as saved:
            model(tokens(shape=(4, 64)), labels=tokens(shape=(4, 64)))
        return saved.bytes

    few = saved_bytes(with_banks(deepseek_model(), {1: [0], 2: [0]}))
    every = saved_bytes(with_banks(deepseek_model(), SELECTIONS["all"]))
    full = saved_bytes(deepseek_model().requires_grad_(True))
    assert few < every <= full * 1.05


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sync_free_forward_equals_the_other_in_outputs_and_gradients(selection, dtype):
    model = with_banks(deepseek_model(dtype=dtype), selection, dtype)
    shake(model)
    model.get_input_embeddings().requires_grad_(True)  # so that gradients pass through every layer
    found = []
    for implementation in ("two_bank", SYNC_FREE):
        model.set_experts_implementation(implementation)
        loss = model(tokens(), labels=tokens()).loss
        model.zero_grad()
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in trained_parameters(model).values())])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("index", [[0, 3], [1, 6]], ids=["no trained row", "trained rows only"])
def test_the_sync_free_forward_with_an_empty_bank(index):
    experts = with_banks(deepseek_model(), {1: [1, 6]}).model.layers[1].mlp.experts
    hidden, gates = torch.randn(10, 32, requires_grad=True), torch.rand(10, 2)
    index = torch.tensor(index).expand(10, 2).contiguous()
    gradient = torch.randn(10, 32)
    found = []
    for forward in (two_bank_experts_forward, sync_free_experts_forward):
        out = forward(experts, hidden, index, gates)
        found.append((out, *torch.autograd.grad(out, [hidden, *experts.trained_bank.parameters()], gradient)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_the_sync_free_forward_reads_nothing_back():
    """On the meta device a value that is read back raises; the default forward's one synchronisation does."""
    model = with_banks(deepseek_model(dtype=torch.bfloat16), SELECTIONS["some"]).to("meta")
    experts = model.model.layers[1].mlp.experts
    index = torch.zeros(10, 2, dtype=torch.long, device="meta")
    given = torch.empty(10, 32, device="meta", dtype=torch.bfloat16), index, torch.empty(10, 2, device="meta")
    assert sync_free_experts_forward(experts, *given).shape == (10, 32)
    with pytest.raises(RuntimeError, match="meta"):
        two_bank_experts_forward(experts, *given)


@pytest.mark.parametrize(("implementation", "places"), [("two_bank", 1), (SYNC_FREE, 0)])
def test_graph_breaks_of_a_compiled_layer(implementation, places):
    """The default forward breaks the graph at one place, where it reads how many rows are frozen; the other never.

    The compiler counts a break again in every caller that it then leaves, so places are counted.
    """
    model = with_banks(deepseek_model(dtype=torch.bfloat16), {1: [5, 2], 2: [0]})
    model.set_experts_implementation(implementation)
    layer = model.model.layers[1].mlp
    torch._dynamo.reset()
    explained = torch._dynamo.explain(layer)(torch.randn(2, 24, 32, dtype=torch.bfloat16))
    found = {(reason.user_stack[-1].filename, reason.user_stack[-1].lineno) for reason in explained.break_reasons}
    assert len(found) == places, explained.break_reasons
    assert bool(explained.graph_break_count) == bool(places)
    assert all("Tensor.item()" in reason.reason for reason in explained.break_reasons)


def test_the_compiled_sync_free_path_is_one_graph_and_gives_the_same_gradients():
    model = with_banks(deepseek_model(dtype=torch.bfloat16), SELECTIONS["some"])
    model.set_experts_implementation(SYNC_FREE)
    check_one_graph(model.model.layers[1].mlp, 32)


def test_gates_that_no_gradient_is_asked_for_keep_no_rows():
    """The first layer that trains has nothing below it that does: only what its trained bank needs is kept."""
    model = with_banks(deepseek_model(), {1: [0, 4]})
    experts = model.model.layers[1].mlp.experts
    hidden, gates = torch.randn(30, 32), torch.rand(30, 2)
    index = torch.rand(30, 8).topk(2).indices
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = experts(hidden, index, gates)
    selected = int(torch.isin(index, torch.tensor([0, 4])).sum())
    assert out.requires_grad and 0 < selected < 60
    wide = [tensor for tensor in kept if tensor.is_floating_point() and tensor.dim() == 2]
    assert wide and all(tensor.shape[0] == selected for tensor in wide)
