"""What each strategy trains, in which precision and at which rate, and what it refuses."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import banks
from esft_lightning.strategies import (
    ESFT,
    ESFTGate,
    ESFTToken,
    FineTuningStrategy,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    NothingToTrainError,
    RandomExperts,
    group_parameters,
    trained_parameters,
    training_table,
)

IDS = torch.randint(3, 96, (2, 16), generator=torch.Generator().manual_seed(0))
SELECTION = ExpertSelection({1: [5, 2], 2: [7]})


def trained_groups(model) -> set[str]:
    return {row.group for row in training_table(model) if row.trained}


def step(model) -> None:
    optimizer = torch.optim.AdamW(trained_parameters(model).values(), lr=1e-3, weight_decay=0.1)
    for _ in range(2):  # LoRA's second factor moves only once the first has
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


EXPECTED = {
    "full": (FullFineTuning(), {"routed experts", "shared experts", "router", "attention", "dense MLP", "norms",
                                "embeddings", "head"}),
    "frozen router": (FullFineTuning(freeze_router=True), {"routed experts", "shared experts", "attention", "dense MLP",
                                                           "norms", "embeddings", "head"}),
    "lora": (LoRA(), {"routed experts", "shared experts", "attention", "dense MLP"}),
    "frozen": (FrozenExperts(), {"shared experts", "router", "attention", "dense MLP", "norms", "embeddings", "head"}),
    "gate": (ESFTGate(), {"routed experts"}),
    "token": (ESFTToken(), {"routed experts"}),
    "random": (RandomExperts(), {"routed experts"}),
    "relevant + shared": (ESFTToken(shared_experts=True), {"routed experts", "shared experts"}),
    "relevant + shared + non-expert": (ESFTToken(shared_experts=True, non_expert_modules=True),
                                       {"routed experts", "shared experts", "router", "attention", "dense MLP", "norms",
                                        "embeddings", "head"}),
    "shared only": (ESFT(routed_experts=False, shared_experts=True), {"shared experts"}),
    "shared + non-expert": (ESFT(routed_experts=False, shared_experts=True, non_expert_modules=True),
                            {"shared experts", "router", "attention", "dense MLP", "norms", "embeddings", "head"}),
}  # fmt: skip


def selection_for(strategy) -> ExpertSelection | None:
    if not strategy.needs_profile:
        return None
    return ExpertSelection(SELECTION.experts, strategy.shared_experts, strategy.non_expert_modules)


@pytest.mark.parametrize(("strategy", "groups"), EXPECTED.values(), ids=EXPECTED)
def test_trains_exactly_its_parts(strategy, groups):
    model = deepseek_model()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    strategy.apply(model, selection_for(strategy))
    assert trained_groups(model) == groups
    step(model)
    membership = group_parameters(model)
    moved = set()
    for name, parameter in model.named_parameters():
        bare = name.replace(".base_layer", "")
        if ".trained_bank." in name or ".lora_" in name:
            moved.add(membership[name])
        elif not torch.equal(parameter, before[bare]):
            moved.add(membership[name])
            assert parameter.requires_grad, name
    assert moved == groups


def test_groups_count_every_parameter_once():
    model = deepseek_model()
    table = {row.group: row.total for row in training_table(model)}
    assert sum(table.values()) == sum(parameter.numel() for parameter in model.parameters())
    assert table["routed experts"] == 2 * 8 * 3 * 32 * 16
    assert table["shared experts"] == 2 * 3 * 32 * 16
    assert table["router"] == 2 * 8 * 32
    assert table["embeddings"] == table["head"] == 96 * 32


def test_learning_rates_are_the_papers_and_can_be_set():
    rates = {type(s).__name__: s.learning_rate for s, _ in EXPECTED.values()}
    assert rates["FullFineTuning"] == 3e-5 and rates["LoRA"] == 1e-4
    assert {rates[name] for name in ("ESFTGate", "ESFTToken", "RandomExperts", "FrozenExperts")} == {1e-5}
    assert ESFTGate(learning_rate=7e-4).learning_rate == 7e-4
    assert (ESFTGate().top_p, ESFTToken().top_p) == (0.1, 0.2)


class Profile:
    """The part of an affinity profile that strategies read."""

    layers, num_experts, metadata = [1, 2], 8, {}

    def raw_p_warning(self, score, normalize):
        return None

    def scores(self, score, average="token", normalize=False):
        gate = np.array([[0.02, 0.03, 0.3, 0.01, 0.02, 0.06, 0.02, 0.04], [0.05] * 8])
        token = np.array([[0.05, 0.1, 0.15, 0.1, 0.1, 0.3, 0.1, 0.1], [0.125] * 8])
        return gate if score == "gate" else token


def test_selection_by_score():
    assert ESFTGate().select(Profile()).experts == {1: [2], 2: [0, 1]}
    assert ESFTToken().select(Profile()).experts == {1: [5], 2: [0, 1]}
    assert ESFTToken(top_k=3).select(Profile()).experts == {1: [5, 2, 1], 2: [0, 1, 2]}
    chosen = ESFTToken(shared_experts=True).select(Profile())
    assert chosen.shared_experts and not chosen.non_expert_modules


def test_random_experts_match_the_counts_and_the_seed():
    like = ESFTToken(top_p=0.4).select(Profile())
    draws = [RandomExperts(top_p=0.4, seed=seed).select(Profile()) for seed in range(8)]
    assert all(draw.per_layer() == like.per_layer() for draw in draws)
    assert len({str(draw.experts) for draw in draws}) > 1
    assert RandomExperts(top_p=0.4, seed=3).select(Profile()) == draws[3]
    assert RandomExperts("gate").select(Profile()).per_layer() == ESFTGate().select(Profile()).per_layer()


def test_a_ready_expert_config_needs_no_profile(tmp_path):
    selection = ExpertSelection({1: [3], 2: [0, 6]}, shared_experts=True)
    selection.save(tmp_path / "expert_cfg.json")
    strategy = ESFTGate(expert_config=tmp_path / "expert_cfg.json")
    assert not strategy.needs_profile
    model = strategy.apply(deepseek_model())
    assert {layer: bank.expert_ids for layer, bank in banks(model)} == {1: [3], 2: [0, 6]}
    assert trained_groups(model) == {"routed experts", "shared experts"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lora_reaches_what_the_paper_adapts_and_reloads_nothing_else(dtype):
    model, bare = deepseek_model(dtype=dtype), deepseek_model(dtype=dtype)
    LoRA().apply(model)
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, bare(IDS).logits)  # B starts at zero
    factors = {name: p.shape for name, p in trained_parameters(model).items()}
    assert all(".lora_" in name for name in factors)
    # Fused experts: one pair of rank 8 per expert; shared experts and dense MLP: their own pairs.
    assert factors["model.layers.1.mlp.experts.base_layer.lora_A.default.weight"] == (8 * 8, 32)
    assert "model.layers.2.mlp.shared_experts.up_proj.lora_B.default.weight" in factors
    assert "model.layers.0.mlp.down_proj.lora_A.default.weight" in factors
    assert not any("gate.lora" in name or "lm_head" in name or "embed" in name for name in factors)


def test_lora_scaling_is_two():
    model = deepseek_model()
    LoRA(rank=4).apply(model)
    assert model.model.layers[0].self_attn.q_proj.scaling["default"] == 2.0


def test_lora_on_some_parts():
    model = LoRA(parts=["routed experts"]).apply(deepseek_model())
    assert trained_groups(model) == {"routed experts"}
    with pytest.raises(ValueError, match="cannot adapt"):
        LoRA(parts=["router"])


def test_lora_refuses_a_part_it_did_not_reach(monkeypatch):
    monkeypatch.setattr("esft_lightning.strategies.lora.attach_lora", lambda model, *_: model.lm_head.requires_grad_())
    with pytest.raises(NothingToTrainError, match=r"attached no factors to .*attention"):
        LoRA().apply(deepseek_model())


def test_refuses_to_train_nothing():
    class Nothing(FineTuningStrategy):
        def make_trainable(self, model, selection=None):
            pass

    with pytest.raises(NothingToTrainError, match="Nothing leaves nothing to train"):
        Nothing().apply(deepseek_model())
    with pytest.raises(ValueError, match="all off"):
        ESFT(routed_experts=False)
    with pytest.raises(NothingToTrainError):
        ESFTToken().apply(deepseek_model(), ExpertSelection({1: [], 2: []}))
    with pytest.raises(ValueError, match="profile the task first"):
        ESFTToken().apply(deepseek_model())


@pytest.mark.parametrize("bad", [dict(top_p=0.0), dict(top_p=-1.0), dict(top_p=20), dict(top_k=0)])
def test_thresholds_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="top_"):
        ESFTToken(**bad)


def test_a_router_that_cannot_be_found_is_not_silently_trained(monkeypatch):
    monkeypatch.setattr("esft_lightning.strategies.full.group_parameters", lambda model: {})
    with pytest.raises(NothingToTrainError, match="no router parameter was found in DeepseekV2ForCausalLM"):
        FullFineTuning(freeze_router=True).apply(deepseek_model())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("strategy", "groups"), EXPECTED.values(), ids=EXPECTED)
def test_what_trains_is_fp32_and_what_is_frozen_stays_as_it_was_loaded(strategy, groups, dtype):
    model, bare = deepseek_model(dtype=dtype), deepseek_model(dtype=dtype)
    strategy.apply(model, selection_for(strategy))
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype), name
    assert trained_groups(model) == groups
    # The same model, before anything is trained; in fp16 the order of a bank's rows decides how sums are rounded.
    tolerance = 0 if dtype == torch.bfloat16 else 1e-2
    torch.testing.assert_close(model(IDS).logits, bare(IDS).logits, rtol=tolerance, atol=tolerance)


def test_without_masters_what_trains_keeps_the_bases_dtype():
    for strategy, _ in EXPECTED.values():
        model = deepseek_model(dtype=torch.bfloat16)
        strategy.apply(model, selection_for(strategy), masters=False)
        dtypes = {p.dtype for p in trained_parameters(model).values()}
        assert dtypes == {torch.float32 if isinstance(strategy, LoRA) else torch.bfloat16}, strategy.name


def test_a_deep_copy_keeps_what_trains():
    model = ESFTToken().apply(deepseek_model(), SELECTION)
    assert trained_parameters(copy.deepcopy(model)).keys() == trained_parameters(model).keys()
