"""The command that trains a large model, at a size of a few megabytes."""

import json

import pytest

from benchmarks import large_model
from benchmarks.large_checkpoint import SHAPES, checkpoint_bytes


@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_the_full_shapes_are_the_published_ones(shape):
    parameters = {"olmoe_7b": 6_919_161_856, "deepseek_v2_lite": 15_706_484_224}
    assert checkpoint_bytes(shape) == 2 * parameters[shape.name]


@pytest.mark.slow
def test_a_run_loads_profiles_trains_saves_and_resumes(tmp_path, capsys):
    options = ["--scale", "test", "--sequence", "64", "--profile-tokens", "256", "--folder", str(tmp_path / "runs")]
    large_model.main(["--shape", "deepseek_v2_lite", *options, "--output", str(tmp_path / "result.json")])
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["resumed_losses_equal"] and list(found["resumed"]["losses"]) == ["3", "4"]
    assert found["quantize_experts"] == "int8" and found["trained_parameters"] == 2 * 3 * 64 * 44
    assert {"load", "profile and select", "steps", "save"} <= set(found["first"]["peak_bytes_by_phase"])
    assert 0 < found["first"]["activation_bytes"] < found["peak_bytes"]
    assert not found["within_bound"]  # at this size libraries are all there is: the bound is not met, and says so
    assert not list((tmp_path / "runs").rglob("*.safetensors"))  # cleaned up
    assert "peak / needed" in capsys.readouterr().out
