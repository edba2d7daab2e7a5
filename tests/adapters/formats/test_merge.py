"""Merging: the folder loads without this library and says what base + adapter say, in every layout and strategy."""

import gc
import json
from pathlib import Path

import pytest
import torch
from layouts import LAYOUTS, make_model, save_base
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import deepseek_config
from trained_adapters import STRATEGIES, logits, save_trained
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.resident import peak_resident_bytes, start_from_here
from esft_lightning.adapters import AdapterError, load_adapter
from esft_lightning.adapters.formats import merge_adapter
from esft_lightning.embedded import TINY
from esft_lightning.moe import load_model, model_fingerprint
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, CheckpointError
from esft_lightning.strategies import ESFTToken, LoRA


def merged_logits(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.set_experts_implementation("grouped_mm")
    return logits(model.eval())


@pytest.mark.parametrize("family", LAYOUTS)
@pytest.mark.parametrize("strategy", ["esft", "full", "lora", "relevant lora"])
def test_the_merged_folder_says_what_base_and_adapter_say(family, strategy, tmp_path):
    base = load_model(save_base(tmp_path / "base", family))
    before = logits(base)
    adapter = save_trained(tmp_path / "adapter", STRATEGIES[strategy], base)
    merged = merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    wanted = logits(load_adapter(base, adapter))
    assert not torch.allclose(before, wanted, atol=1e-3)
    torch.testing.assert_close(merged_logits(merged), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_over_bfloat16(strategy, tmp_path):
    """Bit for bit what the adapter says in use; with LoRA, which is kept apart there, what peft's own merge says."""
    base = load_model(save_base(tmp_path / "base", "deepseek_v2", torch.bfloat16))
    adapter = save_trained(tmp_path / "adapter", STRATEGIES[strategy], base)
    merged = merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    load_adapter(base, adapter)
    for module in list(base.modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
    assert torch.equal(merged_logits(merged), logits(base))
    dtypes = {tensor.dtype for tensor in load_file(merged / "model.safetensors").values()}
    assert dtypes == {torch.bfloat16}


def test_only_what_is_trained_differs_from_the_bases_files(tmp_path):
    base = load_model(save_base(tmp_path / "base", "mixtral"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base)
    merged = load_file(merge_adapter(tmp_path / "base", adapter, tmp_path / "merged") / "model.safetensors")
    stored = load_file(tmp_path / "base" / "model.safetensors")
    assert merged.keys() == stored.keys()
    changed = {key for key in stored if not torch.equal(stored[key], merged[key])}
    assert changed == {
        f"model.layers.{layer}.block_sparse_moe.experts.{expert}.w{part}.weight"
        for layer, expert in ((0, 3), (1, 3), (1, 1))
        for part in (1, 2, 3)
    }


def test_settings_and_tokenizer_come_along_and_nothing_of_this_library(tmp_path):
    base = load_model("tiny")
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base, name="tiny")
    merged = merge_adapter("tiny", adapter, tmp_path / "merged")
    assert {path.name for path in merged.iterdir()} == {path.name for path in TINY.iterdir()}
    assert json.loads((merged / "config.json").read_text()) == json.loads((TINY / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(merged)
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert tokenizer.chat_template and tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert torch.equal(merged_logits(merged), logits(load_adapter(base, adapter)))


def test_shards_are_bounded_and_indexed(tmp_path):
    base = load_model(save_base(tmp_path / "base", "qwen2_moe", max_shard_size="30KB"))
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 2
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base)
    merged = merge_adapter(tmp_path / "base", adapter, tmp_path / "merged", max_shard_bytes=20_000)
    index = json.loads((merged / "model.safetensors.index.json").read_text())
    files = sorted(merged.glob("*.safetensors"))
    assert [path.name for path in files] == sorted(set(index["weight_map"].values()))
    total = 0
    for path in files:
        with safe_open(path, "pt") as file:
            assert set(file.keys()) == {key for key, name in index["weight_map"].items() if name == path.name}
            total += (size := sum(file.get_tensor(key).nbytes for key in file.keys()))  # noqa: SIM118
            assert size <= 20_000
    assert total == index["metadata"]["total_size"]
    torch.testing.assert_close(merged_logits(merged), logits(load_adapter(base, adapter)), atol=1e-5, rtol=1e-5)


def test_a_tied_head_follows_its_embedding(tmp_path):
    """Where a checkpoint stores both, both are written, so that they stay tied."""
    base = make_model("olmoe")
    base.config.tie_word_embeddings = True
    base.tie_weights()
    base.save_pretrained(tmp_path / "base")
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    loaded = load_model(tmp_path / "base")
    adapter = save_trained(tmp_path / "adapter", STRATEGIES["full"], loaded)
    merged = merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    torch.testing.assert_close(merged_logits(merged), logits(load_adapter(loaded, adapter)), atol=1e-5, rtol=1e-5)


def test_trained_wider_than_stored_keeps_what_was_trained(tmp_path):
    """A bf16 checkpoint loaded in fp32: what changed is stored in fp32, and the folder loads in it."""
    save_base(tmp_path / "base", "deepseek_v2", torch.bfloat16)
    base = load_model(tmp_path / "base", dtype="float32")
    adapter = save_trained(tmp_path / "adapter", LoRA(), base)
    merged = merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    assert json.loads((merged / "config.json").read_text())["dtype"] == "float32"
    torch.testing.assert_close(merged_logits(merged), logits(load_adapter(base, adapter)), atol=1e-5, rtol=1e-5)
    narrow = merge_adapter(tmp_path / "base", adapter, tmp_path / "narrow", dtype=torch.bfloat16)
    assert AutoModelForCausalLM.from_pretrained(narrow).dtype == torch.bfloat16


@pytest.mark.parametrize("family", LAYOUTS)
def test_the_streamed_fingerprint_is_the_loaded_models(family, tmp_path):
    save_base(tmp_path / "base", family, max_shard_size="30KB")
    assert BaseCheckpoint(tmp_path / "base").fingerprint() == model_fingerprint(load_model(tmp_path / "base"))


def test_another_base_is_refused_unless_forced(tmp_path):
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), load_model(save_base(tmp_path / "base", "olmoe")))
    save_base(tmp_path / "other", "olmoe", seed=1)
    with pytest.raises(AdapterError, match="the configurations agree, the weights differ"):
        merge_adapter(tmp_path / "other", adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merged = merge_adapter(tmp_path / "other", adapter, tmp_path / "merged", force=True)
    wanted = logits(load_adapter(load_model(tmp_path / "other"), adapter, force=True))
    torch.testing.assert_close(merged_logits(merged), wanted, atol=1e-5, rtol=1e-5)
    save_base(tmp_path / "family", "mixtral")
    with pytest.raises(AdapterError, match=r"'model\.layers\.0\.mlp\.experts\.3\.\w+_proj\.weight' has shape"):
        small = save_trained(tmp_path / "small", ESFTToken(), load_model(save_base(tmp_path / "b2", "qwen2_moe")))
        merge_adapter(tmp_path / "family", small, tmp_path / "forced", force=True)


def test_an_output_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "merged").mkdir()
    with pytest.raises(FileExistsError, match="name another output"):
        merge_adapter("tiny", tmp_path, tmp_path / "merged")


def test_a_base_without_its_files_is_named(tmp_path):
    base = load_model(save_base(tmp_path / "base", "qwen2_moe", max_shard_size="30KB"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base)
    gone = sorted((tmp_path / "base").glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(CheckpointError, match=f"the first {gone.name}"):
        merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")


def test_an_interrupted_merge_leaves_nothing(tmp_path, monkeypatch):
    base = load_model(save_base(tmp_path / "base", "olmoe"))
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), base)
    path = adapter / "adapter_model.safetensors"
    original = BaseCheckpoint.tensors

    def fails(self, unit, parameters):
        if "layers.1." in str(unit.target):
            raise OSError("disk full")
        return original(self, unit, parameters)

    monkeypatch.setattr(BaseCheckpoint, "tensors", fails)
    with pytest.raises(OSError, match="disk full"):
        merge_adapter(tmp_path / "base", adapter, tmp_path / "merged")
    assert path.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "base"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
def test_peak_memory_is_near_a_shard(tmp_path):
    """A model of 160 MB in shards of 10 MB, layers of 12.6 MB: a shard and a few copies of half a layer are held.

    About 60 MB, and up to 40 more that the allocator has not given back; a whole copy would show as 160.
    """
    config = deepseek_config(
        vocab_size=512, hidden_size=256, moe_intermediate_size=256, n_routed_experts=16, num_hidden_layers=13
    )
    model = AutoModelForCausalLM.from_config(config)
    total = sum(parameter.nbytes for parameter in model.parameters())
    model.save_pretrained(tmp_path / "base", max_shard_size="10MB")
    adapter = save_trained(tmp_path / "adapter", ESFTToken(), model)
    del model
    gc.collect()
    before = start_from_here()
    merge_adapter(tmp_path / "base", adapter, tmp_path / "merged", max_shard_bytes=10_000_000)
    held = peak_resident_bytes() - before
    assert total > 150e6
    assert held < 120e6, f"{held / 1e6:.0f} MB held for a model of {total / 1e6:.0f} MB"
