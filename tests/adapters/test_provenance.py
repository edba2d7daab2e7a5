"""What an adapter says of its origin, and what tells one base from another."""

import json
from dataclasses import replace

import numpy as np
from tiny_models import deepseek_model
from trained_adapters import STRATEGIES, save_trained

from esft_lightning.adapters import save_adapter
from esft_lightning.adapters.provenance import base_difference, selection_hash
from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.moe import config_hash, model_fingerprint
from esft_lightning.strategies import ESFTToken


def make_profile(**metadata):
    ones = np.ones((2, 8))
    return AffinityProfile(
        (1, 2), 8, 2, np.full((2, 8), 4, np.int64), ones, ones, ones, tokens=16, samples=4, metadata=metadata
    )


def test_an_adapter_knows_base_selection_profile_data_and_versions(tmp_path):
    base, selection = deepseek_model(), ExpertSelection({1: [3, 1], 2: [0]})
    profile = make_profile(data_fingerprint="d1", counting="all")
    fingerprint = model_fingerprint(base)
    ESFTToken().apply(base, selection)
    folder = save_adapter(
        base, tmp_path / "adapter", strategy="ESFTToken", base="some/base", base_fingerprint=fingerprint,
        selection=selection, profile=profile,
    )  # fmt: skip
    found = json.loads((folder / "adapter_config.json").read_text())["provenance"]
    assert found["base"] == {
        "name": "some/base",
        "config_hash": config_hash(deepseek_model().config),
        "weight_fingerprint": fingerprint,
    }
    assert found["selection"] == {"hash": selection_hash(selection), "experts": 3}
    assert found["profile"]["hash"] == profile.digest() and found["profile"]["tokens"] == 16
    assert found["data_fingerprint"] == "d1"
    assert {"python", "torch", "transformers", "peft", "esft-lightning"} <= set(found["versions"])


def test_hashes_follow_what_they_name():
    selection = ExpertSelection({1: [3, 1], 2: []})
    assert selection_hash(selection) == selection_hash(ExpertSelection({1: [1, 3]}))
    assert selection_hash(selection) != selection_hash(replace(selection, shared_experts=True))
    profile = make_profile(counting="all")
    assert profile.digest() == make_profile(counting="all").digest() != make_profile(counting="response").digest()
    assert profile.digest() != replace(profile, gate_sum=profile.gate_sum * 2).digest()
    config = deepseek_model().config
    assert config_hash(config) == config_hash(deepseek_model(seed=1).config)
    assert config_hash(config) != config_hash(deepseek_model(routed_scaling_factor=2.0).config)


def test_a_difference_names_configuration_or_weights(tmp_path):
    base = deepseek_model()
    folder = save_trained(tmp_path / "adapter", STRATEGIES["esft"], base)
    config = json.loads((folder / "adapter_config.json").read_text())

    def difference(model):
        return base_difference(config, fingerprint=model_fingerprint(model), config_digest=config_hash(model.config))

    assert difference(base) is None
    assert "the configurations agree, the weights differ" in str(difference(deepseek_model(seed=1)))
    assert "the configurations differ" in str(difference(deepseek_model(routed_scaling_factor=2.0)))
    del config["provenance"]  # as older folders are
    assert "weights or configuration differ" in str(difference(deepseek_model(seed=1)))
