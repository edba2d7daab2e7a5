"""A model whose layers lie in memory and on disk learns what one in a single place learns."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from training_runs import make_data, make_module, make_trainer, train, trained_values, write_base, write_rows

from esft_lightning.adapters import load_adapter
from esft_lightning.affinity import AffinityProfile
from esft_lightning.commands.lightning_cli import FineTuningTrainer
from esft_lightning.moe import find_moe_layers, has_offloaded_weights, load_model, model_fingerprint
from esft_lightning.moe.router_traits import router_traits
from esft_lightning.strategies import ESFTGate, FrozenExperts
from esft_lightning.training.callbacks import AdapterCheckpoint

#: Layer 1 and its experts on disk; layer 2 is at hand.
DEVICES = {
    "model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "cpu",
    "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base folder with weights."""
    folder = write_base(tmp_path_factory.mktemp("split") / "base")
    load_model(folder, dtype="float32", random_weights=True).save_pretrained(folder)
    return folder


@pytest.fixture
def spread(tmp_path: Path) -> dict:
    return {
        "random_weights": False, "device_map": DEVICES, "offload_folder": str(tmp_path / "offload"),
        "gradient_checkpointing": True,
    }  # fmt: skip


def test_learns_saves_and_resumes_as_in_one_place(base: str, spread: dict, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    alone, losses, _ = train(
        tmp_path / "one",
        base,
        rows,
        ESFTGate(),
        steps=4,
        module={"random_weights": False, "gradient_checkpointing": True},
    )
    keep = ModelCheckpoint(tmp_path / "checkpoints", save_top_k=-1, every_n_train_steps=2, filename="{step}")
    module, split, _ = train(
        tmp_path / "two", base, rows, ESFTGate(), steps=4, module=spread, strategy="split_layers",
        enable_checkpointing=True, callbacks=[keep, AdapterCheckpoint(save_best=False)],
    )  # fmt: skip
    assert has_offloaded_weights(module.model), "layer 1 went back to disk"
    assert module.base_fingerprint == alone.base_fingerprint
    assert module.selection == alone.selection and 1 in module.selection.experts
    assert split == losses
    for name, value in trained_values(alone).items():
        assert torch.equal(module.state_dict()[name], value)
    (adapter,) = {path.parent for path in (tmp_path / "two").rglob("adapter_config.json")}
    load_adapter(load_model(base), adapter)

    _, again, _ = train(
        tmp_path / "three", base, rows, ESFTGate(), steps=4, module=spread, strategy="split_layers",
        ckpt_path=str(tmp_path / "checkpoints" / "step=2.ckpt"),
    )  # fmt: skip
    assert again == {step: losses[step] for step in (3, 4)}


def test_an_adapter_goes_on_a_spread_model_and_off_again(base: str, spread: dict, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    train(
        tmp_path / "run", base, rows, ESFTGate(), steps=2, module={"random_weights": False},
        callbacks=[AdapterCheckpoint(save_best=False)],
    )  # fmt: skip
    (adapter,) = {path.parent for path in (tmp_path / "run").rglob("adapter_config.json")}
    whole, split = load_model(base), load_model(base, device_map=DEVICES, offload_folder=str(tmp_path / "off"))
    assert model_fingerprint(whole) == model_fingerprint(split)
    assert router_traits(whole) == router_traits(split)
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        wanted = load_adapter(whole, adapter)(ids, use_cache=False).logits
        assert torch.equal(load_adapter(split, adapter)(ids, use_cache=False).logits, wanted)
    assert all(entry.experts.down_proj.is_meta == (entry.layer == 1) for entry in find_moe_layers(split))


def test_the_verb_profile_reads_a_spread_model(base: str, spread: dict, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    profiles = []
    for place, strategy, changes in (("one", "auto", {"random_weights": False}), ("two", "split_layers", spread)):
        trainer = FineTuningTrainer(
            default_root_dir=tmp_path / place, accelerator="cpu", devices=1, logger=False, strategy=strategy,
            enable_progress_bar=False,
        )  # fmt: skip
        output = str(tmp_path / f"{place}.safetensors")
        trainer.profile(make_module(base, ESFTGate(), **changes), make_data(base, rows), output)
        profiles.append(AffinityProfile.load(output))
    assert profiles[0].digest() == profiles[1].digest()


def test_refuses_what_would_not_fit_or_not_train(base: str, spread: dict, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")

    def fit(module: dict, fine_tuning=None, **trainer) -> None:
        trainer = {"max_steps": 1, **trainer}
        strategy = copy.deepcopy(fine_tuning or ESFTGate())
        make_trainer(tmp_path, **trainer).fit(make_module(base, strategy, **module), datamodule=make_data(base, rows))

    with pytest.raises(MisconfigurationException, match=r"set trainer.strategy=split_layers"):
        fit(spread)
    with pytest.raises(MisconfigurationException, match=r"set model.device_map"):
        fit({}, strategy="split_layers")
    with pytest.raises(MisconfigurationException, match=r"without model.gradient_checkpointing"):
        fit({**spread, "gradient_checkpointing": False}, strategy="split_layers")
    with pytest.raises(MisconfigurationException, match=r"trained parameters are offloaded, the first is"):
        fit(spread, FrozenExperts(), strategy="split_layers")
    with pytest.raises(ValueError, match=r"leave it or random_weights off"):
        load_model(base, device_map="auto", random_weights=True)
