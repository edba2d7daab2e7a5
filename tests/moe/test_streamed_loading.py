"""Loading a unit at a time gives the very model that Transformers loads, in the memory of one copy."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from layouts import LAYOUTS, save_base
from places import ROOT
from tiny_models import deepseek_model
from transformers import AutoModelForCausalLM

from esft_lightning.moe import load_model, model_fingerprint
from esft_lightning.moe.base_checkpoint import BaseCheckpoint, CheckpointError


def values(model) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", LAYOUTS)
def test_every_value_is_what_transformers_loads(tmp_path, family, dtype):
    folder = save_base(tmp_path, family)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ours = load_model(folder, dtype=dtype)
    expected, found = values(theirs), values(ours)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
        assert found[name].requires_grad == value.requires_grad, name
    assert ours.generation_config.to_dict() == theirs.generation_config.to_dict()
    theirs.set_experts_implementation("grouped_mm")
    with torch.no_grad():
        assert torch.equal(ours(torch.arange(3, 20)[None]).logits, theirs(torch.arange(3, 20)[None]).logits)


def test_tied_embeddings_are_one_parameter(tmp_path):
    deepseek_model(tie_word_embeddings=True).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model_fingerprint(model) == BaseCheckpoint(tmp_path).fingerprint()


def test_a_missing_tensor_is_named(tmp_path):
    model = deepseek_model()
    state = {key: value for key, value in model.state_dict().items() if key != "model.norm.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match=r"'model\.norm\.weight'"):
        load_model(tmp_path)


def test_another_shape_than_configured_is_named(tmp_path):
    deepseek_model().save_pretrained(tmp_path)
    deepseek_model(vocab_size=120).config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"weight' has shape \(96, 32\).*\(120, 32\)"):
        load_model(tmp_path)


_PEAK = """
import resource, sys, torch
from esft_lightning.moe import load_model, find_moe_layers
load_model({warm!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = load_model({folder!r}, quantize_experts={quantise!r})
peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
held = sum(t.nbytes for t in [*model.parameters(), *model.buffers()])
layer = max(p.numel() * 4 for e in find_moe_layers(model) for p in e.experts.parameters())
print(peak, held, layer)
"""


@pytest.mark.parametrize("quantise", [None, "int8"])
def test_peak_memory_is_one_copy_and_a_layer_of_it(tmp_path, quantise):
    """Resident memory, mapped files included, in a process of its own."""
    warm, folder = tmp_path / "warm", tmp_path / "large"
    deepseek_model().save_pretrained(warm)
    sizes = {"hidden_size": 512, "moe_intermediate_size": 512, "num_hidden_layers": 9, "n_routed_experts": 16}
    deepseek_model(**sizes).save_pretrained(folder, max_shard_size="100MB")
    code = _PEAK.format(warm=str(warm), folder=str(folder), quantise=quantise)
    root = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    peak, held, layer = map(int, done.stdout.split())
    # One layer's larger tensor: its files mapped, its parts stacked, the fused tensor.
    assert peak < 1.05 * held + 3 * layer + 10e6
    assert held > 100e6 and 3 * layer < held  # so that a second copy would not fit
