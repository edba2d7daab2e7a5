"""A budget against a run: the same parameters, adapter, saved activations and operations, strategy by strategy."""

import json

import pytest
import torch
from budget_configs import PUBLISHED, write_published
from layouts import save_base
from tiny_models import deepseek_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.saved_activations import saved_storages
from esft_lightning.__main__ import main
from esft_lightning.adapters import adapter_tensors
from esft_lightning.affinity import ExpertSelection
from esft_lightning.budget.candidates import Candidate, assumed_experts, balanced_shares, candidates
from esft_lightning.budget.layer_kinds import LayerStack
from esft_lightning.budget.memory import estimate_memory
from esft_lightning.budget.meta_model import meta_model
from esft_lightning.budget.reckoning import reckon
from esft_lightning.budget.step import StepMeter, TrainingShape
from esft_lightning.moe import RoutingTap, banks, find_moe_layers, load_model
from esft_lightning.moe.loss import LabelledTokenLoss
from esft_lightning.strategies import (
    ESFT,
    ESFTToken,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RelevantExpertLoRA,
    trained_parameters,
    training_table,
)

SELECTION = ExpertSelection({1: [5, 2], 2: [7]})
STRATEGIES = {
    "full": FullFineTuning(),
    "frozen router": FullFineTuning(freeze_router=True),
    "lora": LoRA(rank=4),
    "frozen experts": FrozenExperts(),
    "esft": ESFTToken(),
    "esft + shared": ESFTToken(shared_experts=True),
    "shared + non-expert": ESFT(routed_experts=False, shared_experts=True, non_expert_modules=True),
    "low rank": RelevantExpertLoRA(rank=4),
}


def selection_for(strategy) -> ExpertSelection | None:
    if not strategy.needs_profile:
        return None
    return ExpertSelection(SELECTION.experts, strategy.shared_experts, strategy.non_expert_modules)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return save_base(tmp_path_factory.mktemp("base"), "deepseek_v2")


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_counts_are_a_runs_own(base, strategy):
    selection = selection_for(strategy)
    meta = meta_model(base)
    row = Candidate("x", strategy, selection, balanced_shares(meta, selection) if selection else {})
    budget = reckon(meta, [row], TrainingShape(1, 16))[0]
    model = strategy.apply(load_model(base), selection)
    assert list(budget.parameters.groups) == training_table(model)
    assert budget.parameters.adapter_bytes == sum(tensor.nbytes for _, tensor in adapter_tensors(model))
    assert budget.memory is not None
    assert budget.memory.gradients == sum(parameter.nbytes for parameter in trained_parameters(model).values())


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_over_a_bf16_base_a_trained_parameter_takes_sixteen_bytes(strategy, tmp_path):
    base = save_base(tmp_path / "base", "deepseek_v2", torch.bfloat16)
    selection = selection_for(strategy)
    meta = meta_model(base)
    row = Candidate("x", strategy, selection, balanced_shares(meta, selection) if selection else {})
    (budget,) = reckon(meta, [row], TrainingShape(1, 16))
    (without,) = reckon(meta, [row], TrainingShape(1, 16), weight_updates="kahan_summation")
    model = strategy.apply(load_model(base), selection)
    trained = list(trained_parameters(model).values())
    memory, count = budget.memory, sum(parameter.numel() for parameter in trained)
    assert memory is not None and without.memory is not None
    assert memory.gradients == 4 * count == sum(parameter.nbytes for parameter in trained)
    assert memory.optimizer == 8 * count + 4 * len(trained)
    frozen = [*(parameter for parameter in model.parameters() if not parameter.requires_grad), *model.buffers()]
    assert memory.weights == 4 * count + sum(tensor.nbytes for tensor in frozen)
    assert budget.parameters.adapter_bytes == sum(tensor.nbytes for _, tensor in adapter_tensors(model))
    low_rank = isinstance(strategy, LoRA | RelevantExpertLoRA)
    assert (without.memory.gradients, without.memory.optimizer) == (
        (memory.gradients, 8 * count) if low_rank else (2 * count, 6 * count)
    )
    assert without.memory.weights == memory.weights - (0 if low_rank else 2 * count)
    assert (memory.copy > 0) == (not low_rank) and without.memory.copy == 0
    assert {parameter.dtype for parameter in meta.parameters()} == {torch.bfloat16}


def test_rounded_copies_are_not_kept_and_the_largest_is_named(tmp_path):
    base = save_base(tmp_path / "base", "deepseek_v2", torch.bfloat16)
    kept = {}
    for dtype in ("float32", "bfloat16"):
        (budget,) = reckon(meta_model(base, dtype=dtype), [Candidate("x", FullFineTuning())], TrainingShape(1, 16))
        assert budget.memory is not None
        kept[dtype] = sum(unit.kept for unit in budget.memory.units)
        experts = find_moe_layers(meta_model(base))[0].experts
        largest = 2 * max(parameter.numel() for parameter in experts.parameters())
        assert budget.memory.copy == (largest if dtype == "bfloat16" else 0)
    assert kept["bfloat16"] < kept["float32"]  # activations of half the size, and no weights among them


def test_the_embedded_models_run_counts_what_the_budget_says():
    model = load_model("tiny")
    LoRA().apply(model)
    assert list(reckon(meta_model("tiny"), [Candidate("x", LoRA())], None)[0].parameters.groups) == training_table(
        model
    )


def test_one_layer_of_each_kind_stands_for_the_others(tmp_path):
    """Six layers, of four kinds: dense, and with one, two or no trained experts."""
    folder = tmp_path / "six"
    deepseek_model(num_hidden_layers=6).save_pretrained(folder)
    selection = ExpertSelection({1: [5, 2], 2: [7], 3: [0, 1], 5: [3]})
    meta = meta_model(folder)
    stack = LayerStack(meta)
    row = Candidate("x", ESFT(), selection, balanced_shares(meta, selection))
    budget = reckon(meta, [row], TrainingShape(1, 64))[0]
    with torch.device("meta"):
        ESFT().apply(meta, selection)
    for layer, bank in banks(meta):
        bank.assumed_trained_share = row.row_shares[layer]
    step = StepMeter(meta, stack, TrainingShape(1, 64)).measure()
    whole = estimate_memory(meta, stack, step, accumulates=True, gradient_checkpointing=False)
    assert budget.memory == whole
    model = ESFT().apply(load_model(str(folder)), selection)
    assert list(budget.parameters.groups) == training_table(model)
    assert stack.kinds({1: 2, 2: 1, 3: 2, 5: 1}) == (0, 1, 2, 1, 4, 2)


def test_the_model_is_bare_again_afterwards(base):
    meta = meta_model(base)
    before = {name: parameter.shape for name, parameter in meta.named_parameters()}
    reckon(meta, candidates(meta, [assumed_experts(meta)]), TrainingShape(1, 16))
    assert {name: parameter.shape for name, parameter in meta.named_parameters()} == before
    assert not trained_parameters(meta)


def saved_bytes(model, ids) -> int:
    """What autograd keeps of a real forward, each storage once, weights not counted."""
    loss = LabelledTokenLoss(model)
    with saved_storages(model.parameters()) as saved:
        total = loss({"input_ids": ids, "labels": ids}).total
    assert total.requires_grad
    return saved.bytes


@pytest.mark.parametrize("name", ["full", "frozen experts", "esft", "lora"])
def test_kept_activations_are_those_of_a_real_forward(base, name):
    strategy = STRATEGIES[name]
    selection = selection_for(strategy)
    ids = torch.randint(3, 96, (2, 64), generator=torch.Generator().manual_seed(0))
    model = strategy.apply(load_model(base), selection).train()
    real = saved_bytes(model, ids)
    meta = meta_model(base)
    with torch.device("meta"):
        strategy.apply(meta, selection)
    # The rows that really hit trained experts here, so that nothing is left to an assumption.
    shares = row_shares(base, selection, ids) if selection else {}
    for layer, bank in banks(meta):
        bank.assumed_trained_share = shares[layer]
    step = StepMeter(meta, LayerStack(meta), TrainingShape(2, 64, kernels="cpu")).measure()
    kept = sum(layer.kept for layer in step.layers) + step.outside.kept
    assert kept == pytest.approx(real, rel=0.03)


def row_shares(base, selection, ids) -> dict[int, float]:
    model = load_model(base)
    with RoutingTap(model).record() as routed, torch.no_grad():
        model(ids)
    return {
        layer: torch.isin(routing.top_k_index, torch.tensor(selection.experts[layer])).double().mean().item()
        for layer, routing in routed.items()
    }


@pytest.mark.parametrize("name", ["full", "frozen experts", "lora"])
def test_operations_are_those_of_a_real_step(name):
    """Attention and experts in plain matrix products, which PyTorch's own counter sees."""
    strategy = STRATEGIES[name]
    model, meta = deepseek_model(experts_implementation="eager"), deepseek_model().to("meta")
    model.set_attn_implementation("eager")
    meta.set_attn_implementation("eager")
    strategy.apply(model, None).train()
    ids = torch.randint(3, 96, (2, 64), generator=torch.Generator().manual_seed(0))
    loss = LabelledTokenLoss(model)
    with FlopCounterMode(display=False) as forward:
        total = loss({"input_ids": ids, "labels": ids}).total
    with FlopCounterMode(display=False) as backward:
        total.backward()
    with torch.device("meta"):
        strategy.apply(meta, None)
    step = StepMeter(meta, LayerStack(meta), TrainingShape(2, 64, kernels="cpu")).measure()
    parts = [*step.layers, step.outside]
    assert sum(part.forward_flops for part in parts) == pytest.approx(forward.get_total_flops(), rel=1e-6)
    assert sum(part.backward_flops for part in parts) == pytest.approx(backward.get_total_flops(), rel=1e-6)


def test_layers_below_the_first_trained_one_cost_no_backward(base):
    meta = meta_model(base)
    with torch.device("meta"):
        ESFTToken().apply(meta, ExpertSelection({2: [1]}))
    for _, bank in banks(meta):
        bank.assumed_trained_share = 0.125
    step = StepMeter(meta, LayerStack(meta), TrainingShape(1, 64)).measure()
    assert [layer.in_backward for layer in step.layers] == [False, False, True]
    assert step.layers[0].kept == step.layers[1].kept == step.layers[1].backward_flops == 0


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "deepseek_v2"])
def test_published_families_go_through(tmp_path, capsys, name):
    assert main(["budget", "--model", write_published(tmp_path, name), "--sequence-length", "256", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["strategies"]
    full = rows[0]
    assert full["label"] == "FullFineTuning" and full["share"] == 1
    for row in rows:
        if "memory" in row:
            assert row["memory"]["total"] >= row["memory_checkpointed"]["total"] > row["memory"]["weights"]
            assert row["flops_per_token"]["backward"] > 0
        if row["label"].startswith("ESFT"):
            assert row["flops_per_token"]["backward"] < full["flops_per_token"]["backward"]
