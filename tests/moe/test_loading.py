"""Loading by folder, by configuration alone, and the fingerprint of what was loaded."""

import pytest
import torch
from tiny_models import deepseek_config, deepseek_model
from transformers import AutoModelForCausalLM, LlamaConfig

from esft_lightning.moe import NotAnMoEError, install_banks, load_model, model_fingerprint


@pytest.fixture
def folder(tmp_path):
    deepseek_model().save_pretrained(tmp_path)
    return tmp_path


def test_a_local_folder(folder):
    ids = torch.arange(3, 13)[None]
    model = load_model(folder)
    assert not model.training and model.config._experts_implementation == "grouped_mm"
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, deepseek_model()(ids).logits)
    assert load_model(folder, dtype="bfloat16").dtype == torch.bfloat16


def test_a_configuration_alone_gives_seeded_random_weights(tmp_path):
    deepseek_config().save_pretrained(tmp_path)
    state = torch.get_rng_state()
    first, again, other = (load_model(tmp_path, random_weights=True, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert model_fingerprint(first) == model_fingerprint(again) != model_fingerprint(other)
    install_banks(first, {1: [0]})
    assert again.config._experts_implementation == "grouped_mm"  # configurations are not shared


def test_the_embedded_model():
    model = load_model("tiny", dtype="float32")
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 1e7
    assert model.config.max_position_embeddings >= 4096


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        load_model(tmp_path / "nowhere")


def test_a_dense_model_is_refused(tmp_path):
    AutoModelForCausalLM.from_config(
        LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(NotAnMoEError):
        load_model(tmp_path)


def test_fingerprint_names_the_base():
    model = deepseek_model()
    name = model_fingerprint(model)
    assert len(name) == 16
    assert model_fingerprint(deepseek_model(seed=1)) != name
    assert model_fingerprint(deepseek_model(dtype=torch.bfloat16)) == name  # the same weights, loaded otherwise
    install_banks(model, {1: [0, 1]})
    assert model_fingerprint(model) == name
    with torch.no_grad():
        model.model.layers[2].mlp.experts.down_proj[6] += 0.5  # one expert of one layer
    assert model_fingerprint(model) != name
