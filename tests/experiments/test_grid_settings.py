"""Presets of the experiments: read, checked, and there for every experiment."""

from pathlib import Path

import pytest

from experiments.routing import RoutingSettings
from experiments.settings import FOLDER, PRESETS, as_settings, load_preset

ROUTING = ("routing_concentration", "expert_overlap", "experts_per_layer", "selection_stability", "token_coverage")


@pytest.mark.parametrize("name", ROUTING)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_of_the_routing_experiments_are_good(name: str, preset: str) -> None:
    settings = as_settings(RoutingSettings, load_preset(name, preset), name)
    assert len(settings.tasks) == 6
    if preset == "paper":
        assert settings.base == "deepseek-ai/DeepSeek-V2-Lite"
        assert settings.tokens == 2**17


def test_every_settings_file_has_both_presets() -> None:
    files = sorted(FOLDER.glob("*.yaml"))
    assert len(files) >= len(ROUTING)
    for path in files:
        for preset in PRESETS:
            assert load_preset(path.stem, preset)


def test_mistakes_name_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: no such file"):
        load_preset("none", "tiny", tmp_path)
    (tmp_path / "one.yaml").write_text("tiny: 3\n")
    with pytest.raises(ValueError, match=r"one\.yaml: preset 'tiny' is missing"):
        load_preset("one", "tiny", tmp_path)
    (tmp_path / "two.yaml").write_text("tiny: {a: [}\n")
    with pytest.raises(ValueError, match=r"two\.yaml"):
        load_preset("two", "tiny", tmp_path)
    with pytest.raises(ValueError, match="here: unknown key 'token'; did you mean 'tokens'"):
        as_settings(RoutingSettings, {"base": "tiny", "tasks": ["a", "b"], "token": 5}, "here")
    with pytest.raises(ValueError, match=r"here: .*missing 1 required positional argument: 'tokens'"):
        as_settings(RoutingSettings, {"base": "tiny", "tasks": ["a", "b"]}, "here")
