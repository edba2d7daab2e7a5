"""The authors' layout, both ways: against code that keeps every expert for itself, and against their released files."""

import json
import shutil

import pytest
import torch
from layouts import LAYOUTS, make_model, save_base
from safetensors.torch import load_file, save_file
from tiny_models import deepseek_model
from trained_adapters import STRATEGIES, logits, save_trained
from transformers import AutoModelForCausalLM, DeepseekV2Config

from esft_lightning.adapters import AdapterError, load_adapter
from esft_lightning.adapters.formats import export_adapter, import_adapter, official_shapes
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import load_model
from esft_lightning.strategies import ESFT, ESFTToken, FullFineTuning

OFFICIAL = ["esft", "esft + shared + non-expert", "shared only", "frozen experts", "full"]


def separate_experts(family, model):
    """Every expert of a model by the authors' names, by hand for each family's layout: an independent reading."""
    found = {}
    for name, value in model.state_dict().items():
        owner, _, projection = name.rpartition(".")
        if not owner.endswith(".experts"):
            continue
        layer = owner.split(".")[2]
        for expert, rows in enumerate(value):
            place = f"model.layers.{layer}.mlp.experts.{expert}"
            if family == "gpt_oss":
                kind = "bias" if projection.endswith("_bias") else "weight"
                rows = rows.T if kind == "weight" else rows
                if projection.startswith("gate_up"):
                    found[f"{place}.gate_proj.{kind}"], found[f"{place}.up_proj.{kind}"] = rows[::2], rows[1::2]
                else:
                    found[f"{place}.down_proj.{kind}"] = rows
            elif projection == "gate_up_proj":
                half = len(rows) // 2
                found[f"{place}.gate_proj.weight"], found[f"{place}.up_proj.weight"] = rows[:half], rows[half:]
            else:
                found[f"{place}.{projection}.weight"] = rows
    return found


def write_official(folder, tensors, experts, **flags):
    """A folder in the authors' layout."""
    folder.mkdir()
    config = {"experts": experts, "shared_experts": False, "non_expert_modules": False, **flags}
    (folder / "expert_cfg.json").write_text(json.dumps(config))
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, folder / "part-1.safetensors")
    return folder


@pytest.mark.parametrize("family", LAYOUTS)
def test_an_adapter_written_by_independent_per_expert_code_loads(family, tmp_path):
    """Experts 1 and 3 of every layer are taken from another model; so must the imported adapter say."""
    base = load_model(save_base(tmp_path / "base", family))
    wanted, other = make_model(family), make_model(family, seed=1)
    layers = {entry.split(".")[2] for entry in separate_experts(family, base) if ".experts." in entry}
    chosen = {key: value for key, value in separate_experts(family, other).items() if key.split(".")[5] in ("1", "3")}
    with torch.no_grad():
        theirs = dict(other.named_parameters())
        for name, value in wanted.named_parameters():
            if ".experts." in name:
                value[[1, 3]] = theirs[name][[1, 3]]
    source = write_official(tmp_path / "official", chosen, {layer: [3, 1] for layer in sorted(layers)})
    adapter = import_adapter(source, tmp_path / "adapter", base=tmp_path / "base")
    torch.testing.assert_close(logits(load_adapter(base, adapter)), logits(wanted), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", LAYOUTS)
@pytest.mark.parametrize("strategy", OFFICIAL)
def test_export_and_import_bring_back_the_same_adapter(family, strategy, tmp_path):
    base = load_model(save_base(tmp_path / "base", family))
    if strategy == "shared only" and family not in ("deepseek_v2", "deepseek_v3", "qwen2_moe", "nemotron_h"):
        pytest.skip(f"{family} has no shared experts")
    adapter = save_trained(tmp_path / "adapter", STRATEGIES[strategy], base, name=str(tmp_path / "base"))
    wanted = logits(load_adapter(base, adapter))
    exported = export_adapter(adapter, tmp_path / "official")
    again = import_adapter(exported, tmp_path / "again", base=tmp_path / "base")
    assert torch.equal(logits(load_adapter(base, again)), wanted)
    second = export_adapter(again, tmp_path / "second")
    assert (second / "expert_cfg.json").read_bytes() == (exported / "expert_cfg.json").read_bytes()
    first, last = (load_file(folder / "model.safetensors") for folder in (exported, second))
    assert first.keys() == last.keys() and all(torch.equal(first[key], last[key]) for key in first)


@pytest.mark.parametrize("family", LAYOUTS)
def test_exported_experts_are_those_that_independent_code_reads(family, tmp_path):
    base = load_model(save_base(tmp_path / "base", family))
    adapter = save_trained(tmp_path / "adapter", FullFineTuning(), base, name=str(tmp_path / "base"))
    exported = load_file(export_adapter(adapter, tmp_path / "official") / "model.safetensors")
    trained = make_model(family)
    load_adapter(base, adapter)
    trained.load_state_dict(base.state_dict())
    independent = separate_experts(family, trained)
    assert independent.keys() == {key for key in exported if ".mlp.experts." in key}
    assert all(torch.equal(exported[key], value) for key, value in independent.items())


@pytest.mark.parametrize("strategy", OFFICIAL)
def test_the_authors_model_takes_an_export_key_by_key(strategy, tmp_path):
    """Their loader puts the tensors over a DeepSeek-V2 checkpoint's own names, and asks every MoE layer's list."""
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    adapter = save_trained(tmp_path / "adapter", STRATEGIES[strategy], base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    tensors = load_file(exported / "model.safetensors")
    path = tmp_path / "base" / "model.safetensors"
    checkpoint = load_file(path)
    assert set(tensors) <= set(checkpoint)
    save_file(checkpoint | tensors, path, metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    model.set_experts_implementation("grouped_mm")
    torch.testing.assert_close(logits(model), logits(load_adapter(base, adapter)), atol=1e-6, rtol=1e-6)
    config = json.loads((exported / "expert_cfg.json").read_text())
    assert set(config["experts"]) == {"1", "2"}
    trained = {
        layer: sorted({int(k.split(".")[5]) for k in tensors if f".{layer}.mlp.experts." in k}) for layer in "12"
    }
    assert trained == {layer: sorted(ids) for layer, ids in config["experts"].items()}


def test_the_first_releases_keys_are_read(tmp_path):
    """They hold the decoder's keys, without `model.` and without a head."""
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    strategy = STRATEGIES["esft + shared + non-expert"]
    adapter = save_trained(tmp_path / "adapter", strategy, base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    tensors = load_file(exported / "model.safetensors")
    old = {key.removeprefix("model."): value for key, value in tensors.items() if not key.startswith("lm_head")}
    save_file(old, exported / "model.safetensors")
    again = import_adapter(exported, tmp_path / "again", base=tmp_path / "base")
    found = load_file(again / "adapter_model.safetensors")
    assert found.keys() == {key for key in tensors if key != "lm_head.weight"}
    assert all(torch.equal(found[key], tensors[key]) for key in found)
    load_adapter(base, again)
    del old["layers.2.mlp.experts.3.up_proj.weight"]
    save_file(old, exported / "model.safetensors")
    with pytest.raises(AdapterError, match=r"missing, the first is 'model\.layers\.2\.mlp\.experts\.3\.up_proj"):
        import_adapter(exported, tmp_path / "bad", base=tmp_path / "base")


def drop(tensors):
    del tensors["model.layers.1.mlp.experts.3.up_proj.weight"]


def unselected(tensors):
    tensors["model.layers.1.mlp.experts.6.up_proj.weight"] = torch.zeros(16, 32)


def misshape(tensors):
    tensors["model.layers.2.mlp.experts.3.up_proj.weight"] = torch.zeros(16, 16)


def stranger(tensors):
    tensors["model.layers.2.mlp.gate.weight"] = torch.zeros(8, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"1 keys are missing, the first is 'model\.layers\.1\.mlp\.experts\.3\.up_proj\.weight'"),
        (
            unselected,
            r"'model\.layers\.1\.mlp\.experts\.6\.up_proj\.weight' is of expert 6, which expert_cfg\.json does",
        ),
        (misshape, r"'model\.layers\.2\.mlp\.experts\.3\.up_proj\.weight' has shape \(16, 16\), expected \(16, 32\)"),
        (stranger, r"not among what was selected, the first is 'model\.layers\.2\.mlp\.gate\.weight'"),
    ],
)
def test_bad_files_are_refused_by_key(change, message, tmp_path):
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    tensors = load_file(exported / "model.safetensors")
    change(tensors)
    save_file(tensors, exported / "model.safetensors")
    with pytest.raises(AdapterError, match=message):
        import_adapter(exported, tmp_path / "again", base=tmp_path / "base")
    assert not (tmp_path / "again").exists()


def test_another_models_adapter_is_refused(tmp_path):
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    save_base(tmp_path / "weights", "deepseek_v2", seed=1)
    with pytest.raises(AdapterError, match=r"belongs to .*base .*or force it"):
        import_adapter(exported, tmp_path / "again", base=tmp_path / "weights")
    import_adapter(exported, tmp_path / "forced", base=tmp_path / "weights", force=True)
    save_base(tmp_path / "family", "olmoe")
    with pytest.raises(AdapterError, match=r"expert_cfg\.json: experts\[2\]: the model has no MoE layer 2"):
        import_adapter(exported, tmp_path / "again", base=tmp_path / "family", force=True)
    with pytest.raises(AdapterError, match=r"configuration has hash .*; that of .*family has"):
        export_adapter(adapter, tmp_path / "again", base=tmp_path / "family")


@pytest.mark.parametrize("strategy", ["lora", "relevant lora"])
def test_low_rank_factors_have_no_place_in_it(strategy, tmp_path):
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    adapter = save_trained(tmp_path / "adapter", STRATEGIES[strategy], base, name=str(tmp_path / "base"))
    with pytest.raises(AdapterError, match="esft_lightning merge"):
        export_adapter(adapter, tmp_path / "official")


def test_a_part_of_a_part_is_refused(tmp_path):
    """The authors' switches open all of the non-expert modules or none: without the routers, nothing loads there."""
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    strategy = FullFineTuning(freeze_router=True)
    adapter = save_trained(tmp_path / "adapter", strategy, base, name=str(tmp_path / "base"))
    with pytest.raises(AdapterError, match=r"2 keys are missing, the first is 'model\.layers\.1\.mlp\.gate\.weight'"):
        export_adapter(adapter, tmp_path / "official")


def test_two_files_with_one_key_are_refused(tmp_path):
    base = load_model(save_base(tmp_path / "base", "deepseek_v2"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    shutil.copy(exported / "model.safetensors", exported / "second.safetensors")
    with pytest.raises(AdapterError, match="stands in another file"):
        import_adapter(exported, tmp_path / "again", base=tmp_path / "base")


@pytest.mark.parametrize("task", ["intent", "law"])
def test_the_released_selections_name_what_the_paper_counts(task, reference_data):
    """DeepSeek-V2-Lite without weights: experts of 8,650,752 parameters each, in three matrices."""
    config = DeepseekV2Config(
        vocab_size=102400, hidden_size=2048, intermediate_size=10944, moe_intermediate_size=1408, num_hidden_layers=27,
        num_attention_heads=16, num_key_value_heads=16, kv_lora_rank=512, q_lora_rank=None, qk_nope_head_dim=128,
        qk_rope_head_dim=64, v_head_dim=128, n_shared_experts=2, n_routed_experts=64, num_experts_per_tok=6,
        first_k_dense_replace=1, n_group=1, topk_group=1, topk_method="greedy",
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    selection = ExpertSelection.load(reference_data / "esft" / "expert_configs" / f"{task}.json")
    shapes = official_shapes(model, selection)
    assert len(shapes) == 3 * selection.total
    assert sum(rows * columns for rows, columns in shapes.values()) == 8_650_752 * selection.total
    assert set(shapes.values()) == {(1408, 2048), (2048, 1408)}


@pytest.mark.parametrize("task", ["intent", "law"])
def test_a_released_selection_goes_out_and_comes_back(task, reference_data, tmp_path):
    """The authors' own expert_cfg.json, trained on a narrow model of the same depth: its lists come back."""
    released = reference_data / "esft" / "expert_configs" / f"{task}.json"
    base = deepseek_model(num_hidden_layers=27, n_routed_experts=64, moe_intermediate_size=8, hidden_size=32)
    base.save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base")
    strategy = ESFT(expert_config=released)
    adapter = save_trained(tmp_path / "adapter", strategy, base, name=str(tmp_path / "base"))
    exported = export_adapter(adapter, tmp_path / "official")
    assert json.loads((exported / "expert_cfg.json").read_text()) == json.loads(released.read_text())
    again = import_adapter(exported, tmp_path / "again", base=tmp_path / "base")
    for name in ("adapter_model.safetensors", "expert_cfg.json"):
        assert (again / name).read_bytes() == (adapter / name).read_bytes()
