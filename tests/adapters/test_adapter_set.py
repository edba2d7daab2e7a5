"""Several adapters on one base: any order of switching, no copy of a weight, the base untouched at the end."""

import itertools

import pytest
import torch
from tiny_models import deepseek_model
from trained_adapters import STRATEGIES, logits, save_trained

from esft_lightning import AdapterSet
from esft_lightning.adapters import AdapterError, load_adapter


@pytest.fixture
def folders(tmp_path):
    base = deepseek_model()
    return {name: save_trained(tmp_path / name, s, base, seed=i) for i, (name, s) in enumerate(STRATEGIES.items())}


def test_every_switch_between_all_kinds_and_the_base_at_the_end(folders):
    base = deepseek_model()
    before = {name: (parameter, parameter.clone()) for name, parameter in base.named_parameters()}
    expected = {None: logits(base)}
    for name, folder in folders.items():
        expected[name] = logits(load_adapter(deepseek_model(), folder))
    adapters = AdapterSet(base)
    for name, folder in folders.items():
        adapters.load(name, folder)
        assert adapters.active is None and torch.equal(logits(base), expected[None])
    assert adapters.names == list(folders)
    for pair in itertools.permutations([None, *folders], 2):
        for name in pair:
            assert torch.equal(logits(adapters.use(name)), expected[name]), pair
            assert not any(parameter.requires_grad for parameter in base.parameters())
    for name in list(folders):
        adapters.remove(name)
    assert adapters.names == [] and adapters.active is None
    after = dict(base.named_parameters())
    assert after.keys() == before.keys()
    for name, (parameter, value) in before.items():
        assert after[name] is parameter and torch.equal(parameter, value)


def test_switching_allocates_no_weights(folders):
    adapters = AdapterSet(deepseek_model())
    for name, folder in folders.items():
        adapters.load(name, folder)

    def storages(name):
        adapters.use(name)
        return {parameter.untyped_storage().data_ptr() for parameter in adapters.model.parameters()}

    for name in folders:
        first = storages(name)
        adapters.use(None)
        assert storages(name) == first
    assert adapters.bytes("esft") == 3 * 3 * 16 * 32 * 4  # three experts of three matrices, fp32


def test_one_that_does_not_fit_changes_nothing(folders, tmp_path):
    adapters = AdapterSet(deepseek_model())
    adapters.load("esft", folders["esft"])
    wanted = logits(adapters.use("esft"))
    other = save_trained(tmp_path / "other", STRATEGIES["esft"], deepseek_model(seed=1))
    with pytest.raises(AdapterError, match="the weights differ; load the base that it was trained on, or force it"):
        adapters.load("other", other)
    assert adapters.active == "esft" and torch.equal(logits(adapters.model), wanted)
    adapters.load("other", other, force=True)
    assert adapters.names == ["esft", "other"]


def test_wrong_names_are_answered_with_the_right_ones(folders):
    adapters = AdapterSet(deepseek_model())
    adapters.load("law", folders["esft"])
    with pytest.raises(ValueError, match="there is an adapter 'law' already"):
        adapters.load("law", folders["lora"])
    with pytest.raises(KeyError, match="no adapter 'math'; loaded: law"):
        adapters.use("math")
    with pytest.raises(KeyError, match="no adapter 'math'; loaded: law"):
        adapters.remove("math")
    adapters.use("law")
    with pytest.raises(ValueError, match="carries an adapter already"):
        AdapterSet(adapters.model)
    adapters.remove("law")
    assert adapters.active is None


def test_save_pretrained_with_an_adapter_on_is_refused_and_names_merge(folders, tmp_path):
    adapters = AdapterSet(deepseek_model())
    for name in ("esft", "relevant lora", "lora"):
        adapters.load(name, folders[name])
        adapters.use(name)
        with pytest.raises(RuntimeError, match="esft_lightning merge"):
            adapters.model.save_pretrained(tmp_path / "saved")
    adapters.use(None).save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").exists()
