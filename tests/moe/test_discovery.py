"""Finding the experts of models from several families, without naming any."""

import pytest
import torch
from tiny_models import deepseek_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from esft_lightning.moe import NotAnMoEError, find_decoder, find_moe_layers
from esft_lightning.moe.discovery import projection_names

SMALL = dict(
    vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=2,
    num_attention_heads=2, num_key_value_heads=2, head_dim=16, num_experts=4, num_local_experts=4,
    num_experts_per_tok=2, max_position_embeddings=64, pad_token_id=0,
)  # fmt: skip


@pytest.mark.parametrize("family", ["olmoe", "qwen3_moe", "mixtral", "gpt_oss"])
def test_finds_every_layer(family):
    config = AutoConfig.for_model(family, **SMALL)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = find_moe_layers(model)
    assert [entry.layer for entry in layers] == [0, 1]
    assert {entry.num_experts for entry in layers} == {4}
    assert all(model.get_submodule(entry.name) is entry.experts for entry in layers)
    assert {"gate_up_proj", "down_proj"} <= set(projection_names(layers[0].experts))


def test_layer_numbers_are_the_decoders():
    layers = find_moe_layers(deepseek_model())
    assert [entry.layer for entry in layers] == [1, 2]  # layer 0 is dense
    assert layers[0].block_name == "model.layers.1.mlp"


def test_decoder_owns_the_layers():
    model = deepseek_model()
    assert find_decoder(model) is model.model
    wrapped = nn.ModuleDict({"inner": model})
    assert find_decoder(wrapped) is model.model


def test_a_dense_model_is_refused():
    config = LlamaConfig(**{key: SMALL[key] for key in ("vocab_size", "hidden_size", "intermediate_size")})
    config.num_hidden_layers = 1
    with torch.device("meta"), pytest.raises(NotAnMoEError, match="LlamaForCausalLM has no fused routed experts"):
        find_moe_layers(AutoModelForCausalLM.from_config(config))
