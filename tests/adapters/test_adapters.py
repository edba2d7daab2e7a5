"""Adapters: saved, loaded, swapped, taken off, and refused when they do not fit."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import deepseek_model
from transformers import AutoConfig, AutoModelForCausalLM

from esft_lightning.adapters import AdapterError, adapter_bytes, load_adapter, remove_adapter, save_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import find_moe_layers, model_fingerprint
from esft_lightning.strategies import (
    ESFT,
    ESFTToken,
    FrozenExperts,
    FullFineTuning,
    LoRA,
    RelevantExpertLoRA,
    trained_parameters,
)

IDS = torch.randint(3, 96, (2, 16), generator=torch.Generator().manual_seed(0))
STRATEGIES = {
    "full": FullFineTuning(),
    "lora": LoRA(),
    "frozen": FrozenExperts(),
    "esft": ESFTToken(),
    "relevant lora": RelevantExpertLoRA(rank=4),
    "esft + shared + non-expert": ESFTToken(shared_experts=True, non_expert_modules=True),
    "shared only": ESFT(routed_experts=False, shared_experts=True),
}


def train(strategy, base, seed=0):
    """A trained copy of the base and its selection."""
    model, selection = copy.deepcopy(base), None
    if strategy.needs_profile:
        layers = [entry.layer for entry in find_moe_layers(model)]
        experts = {layer: [3, 1][: 1 + layer % 2] for layer in layers}
        selection = ExpertSelection(experts, strategy.shared_experts, strategy.non_expert_modules)
    strategy.apply(model, selection)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, selection


def save(folder, strategy, base, **options):
    model, selection = train(strategy, base, **options)
    save_adapter(
        model,
        folder,
        strategy=strategy.name,
        base="test",
        base_fingerprint=model_fingerprint(base),
        selection=selection,
    )
    return model


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_save_load_remove(strategy, tmp_path):
    base = deepseek_model()
    before = {name: parameter.clone() for name, parameter in base.named_parameters()}
    bare = base(IDS).logits
    trained = save(tmp_path / "adapter", strategy, base)
    load_adapter(base, tmp_path / "adapter")
    assert torch.equal(base(IDS).logits, trained(IDS).logits)
    assert not torch.allclose(base(IDS).logits, bare, atol=1e-3)
    assert not any(parameter.requires_grad for parameter in base.parameters())
    stored = sum(p.numel() for p in trained_parameters(trained).values()) * 4
    assert adapter_bytes(tmp_path / "adapter") <= 1.01 * stored + 64 * 1024
    remove_adapter(base)
    assert torch.equal(base(IDS).logits, bare)
    after = dict(base.named_parameters())
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_swapping_between_all_kinds(tmp_path):
    base = deepseek_model()
    expected = {}
    for number, (name, strategy) in enumerate(STRATEGIES.items()):
        expected[name] = save(tmp_path / name, strategy, base, seed=number)(IDS).logits
    for name in [*expected, *reversed(expected)]:
        load_adapter(base, tmp_path / name)
        assert torch.equal(base(IDS).logits, expected[name]), name


def test_names_and_shapes_are_the_official_ones(tmp_path):
    base = deepseek_model()
    save(tmp_path / "adapter", ESFTToken(), base)
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert set(tensors) == {
        f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight"
        for layer, expert in ((1, 3), (1, 1), (2, 3))
        for part in ("gate", "up", "down")
    }
    assert tensors["model.layers.1.mlp.experts.3.gate_proj.weight"].shape == (16, 32)
    assert tensors["model.layers.1.mlp.experts.3.down_proj.weight"].shape == (32, 16)
    official = json.loads((tmp_path / "adapter" / "expert_cfg.json").read_text())
    assert official == {"experts": {"1": [3, 1], "2": [3]}, "shared_experts": False, "non_expert_modules": False}


def test_other_layouts_round_trip_in_official_form(tmp_path):
    """gpt_oss keeps experts transposed, interleaved and with biases; files are `[out, in]` and separate."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gpt_oss", vocab_size=96, hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
        pad_token_id=0,
    )  # fmt: skip
    base = AutoModelForCausalLM.from_config(config).eval()
    base.set_experts_implementation("grouped_mm")
    with torch.no_grad():
        for entry in find_moe_layers(base):
            for parameter in entry.experts.parameters():
                parameter.normal_(std=0.2)
    trained = save(tmp_path / "adapter", ESFTToken(), base)
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert tensors["model.layers.1.mlp.experts.3.gate_proj.weight"].shape == (16, 32)
    assert tensors["model.layers.1.mlp.experts.3.down_proj.bias"].shape == (32,)
    load_adapter(base, tmp_path / "adapter")
    assert torch.equal(base(IDS).logits, trained(IDS).logits)


def test_stored_in_the_bases_dtype(tmp_path):
    base = deepseek_model(dtype=torch.bfloat16)
    trained = save(tmp_path / "adapter", ESFTToken(), base)  # fp32 masters
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    load_adapter(base, tmp_path / "adapter")
    assert torch.equal(base(IDS).logits, trained(IDS).logits)  # the forward casts masters the same way


def test_saving_again_replaces_the_folder_whole(tmp_path):
    base = deepseek_model()
    save(tmp_path / "adapter", ESFTToken(), base)
    save(tmp_path / "adapter", FrozenExperts(), base)
    assert not (tmp_path / "adapter" / "expert_cfg.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]  # no temporary left


def edit(folder, change):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def drop(tensors):
    del tensors["model.layers.1.mlp.experts.3.up_proj.weight"]


def stray(tensors):
    tensors["model.layers.1.mlp.experts.6.up_proj.weight"] = torch.zeros(16, 32)


def misshape(tensors):
    tensors["model.layers.2.mlp.experts.3.up_proj.weight"] = torch.zeros(16, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"1 keys are missing, the first is 'model\.layers\.1\.mlp\.experts\.3\.up_proj\.weight'"),
        (stray, r"not among what was selected, the first is 'model\.layers\.1\.mlp\.experts\.6\.up_proj"),
        (misshape, r"'model\.layers\.2\.mlp\.experts\.3\.up_proj\.weight' has shape \(16, 16\), expected \(16, 32\)"),
    ],
)
def test_bad_weights_are_refused_by_key_and_leave_the_model_alone(change, message, tmp_path):
    base = deepseek_model()
    good = save(tmp_path / "good", LoRA(), base)
    save(tmp_path / "bad", ESFTToken(), base)
    edit(tmp_path / "bad", change)
    load_adapter(base, tmp_path / "good")
    with pytest.raises(AdapterError, match=message):
        load_adapter(base, tmp_path / "bad")
    assert torch.equal(base(IDS).logits, good(IDS).logits)


def test_another_models_adapter_is_refused(tmp_path):
    save(tmp_path / "adapter", ESFTToken(), deepseek_model(seed=1))
    base = deepseek_model()
    with pytest.raises(AdapterError, match="load the base that it was trained on, or force it"):
        load_adapter(base, tmp_path / "adapter")
    bare = base(IDS).logits
    load_adapter(base, tmp_path / "adapter", force=True)
    assert not torch.allclose(base(IDS).logits, bare, atol=1e-3)
    remove_adapter(base)
    assert torch.equal(base(IDS).logits, bare)


def test_force_does_not_make_shapes_fit(tmp_path):
    save(tmp_path / "adapter", ESFTToken(), deepseek_model(moe_intermediate_size=24))
    with pytest.raises(AdapterError, match=r"has shape .*, expected"):
        load_adapter(deepseek_model(), tmp_path / "adapter", force=True)


def test_an_expert_that_the_model_does_not_have_is_named(tmp_path):
    save(tmp_path / "adapter", ESFTToken(), deepseek_model())
    with pytest.raises(AdapterError, match=r"names expert 3 in layer 1; this model has 2 experts there"):
        load_adapter(deepseek_model(n_routed_experts=2), tmp_path / "adapter", force=True)


def test_broken_folders_are_named(tmp_path):
    base = deepseek_model()
    with pytest.raises(AdapterError, match="no adapter folder"):
        load_adapter(base, tmp_path)
    save(tmp_path / "adapter", ESFTToken(), base)
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors cannot be read"):
        load_adapter(base, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{")
    with pytest.raises(AdapterError, match="is not JSON"):
        load_adapter(base, tmp_path / "adapter")
