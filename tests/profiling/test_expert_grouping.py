"""Grouped experts through whole runs: found before profiling, cached, selected as groups, part of the base's name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import make_module, train, write_base, write_rows

from esft_lightning.adapters import AdapterError, load_adapter, save_adapter
from esft_lightning.affinity import AffinityProfile, ExpertGrouping
from esft_lightning.data.general import general_loader
from esft_lightning.moe import RoutingTap, banks, load_model, load_tokenizer, model_fingerprint
from esft_lightning.moe.grouped_routing import grouped_routing
from esft_lightning.profiling.expert_grouping import find_grouping, measure_co_occurrence
from esft_lightning.strategies import ESFTToken, FineTuningStrategy, FullFineTuning, RandomExperts
from esft_lightning.training.run_folder import run_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"), n_routed_experts=16, num_experts_per_tok=3)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def run(folder: Path, base: str, rows: str, strategy: FineTuningStrategy, **module: Any):
    settings = {"expert_group_size": 2, "expert_group_source": rows, **module}
    return train(folder, base, rows, strategy, steps=2, module=settings)


def test_co_occurrence_is_counted_over_real_tokens(base: str, rows: str) -> None:
    model, loader = (
        load_model(base, random_weights=True),
        general_loader(load_tokenizer(base), rows, sequence_length=64),
    )
    counts = measure_co_occurrence(model, loader)
    expected, tokens = np.zeros((16, 16), dtype=np.int64), 0
    for batch in loader:
        with torch.no_grad(), RoutingTap(model).record(batch["token_mask"]) as routing:
            model.model(batch["input_ids"], position_ids=batch.get("position_ids"), use_cache=False)
        for chosen in routing[1].top_k_index.tolist():
            tokens += 1
            for first in chosen:
                for second in chosen:
                    expected[first, second] += 1
    np.testing.assert_array_equal(counts[1], expected)
    assert counts[1].trace() == 3 * tokens > 100
    assert measure_co_occurrence(model, loader, token_budget=1)[1].trace() < counts[1].trace()


def test_embedded_general_text_needs_no_file(base: str) -> None:
    batch = next(iter(general_loader(load_tokenizer(base))))
    assert batch["input_ids"].shape == (8, 512) and batch["token_mask"].sum() > 2000


def test_a_grouping_is_read_from_the_cache(base: str, rows: str, tmp_path: Path) -> None:
    model, tokenizer = load_model(base, random_weights=True), load_tokenizer(base)
    first = find_grouping(model, tokenizer, 2, source=rows, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    swapped = ExpertGrouping(
        2, {layer: [sorted(g) for g in zip(range(8), range(8, 16), strict=True)] for layer in (1, 2)}
    )
    assert swapped != first
    swapped.save(path)
    assert find_grouping(model, tokenizer, 2, source=rows, folder=tmp_path) == swapped
    assert find_grouping(model, tokenizer, 2, source=rows) == first
    with pytest.raises(ValueError, match="groups of 3 do not divide the 16 experts of layer 1"):
        find_grouping(model, tokenizer, 3, source=rows, folder=tmp_path)


@pytest.mark.parametrize("strategy", [ESFTToken(), RandomExperts()], ids=["ESFTToken", "RandomExperts"])
def test_whole_groups_train(strategy: FineTuningStrategy, base: str, rows: str, tmp_path: Path) -> None:
    module, _, trainer = run(tmp_path, base, rows, strategy)
    state = grouped_routing(module.model)
    assert state is not None and state.active_experts == 2
    profile = AffinityProfile.load(run_folder(trainer) / "affinity.safetensors")
    assert profile.top_k == 2 and profile.metadata["expert_groups"]["size"] == 2
    assert module.selection is not None and module.selection == strategy.select(profile)
    for layer, bank in banks(module.model):
        assert all(len(set(group) & set(bank.expert_ids)) in (0, 2) for group in state.groups[layer])
        assert 0 < len(bank.expert_ids) < 16
    assert len(list((tmp_path / "profiles").glob("grouping-*.json"))) == 1


def test_profiles_of_other_group_sizes_are_not_taken(base: str, rows: str, tmp_path: Path) -> None:
    for size, profiles in ((2, 1), (1, 2), (None, 3), (2, 3)):
        source = rows if size else None
        module, _, _ = run(tmp_path, base, rows, ESFTToken(), expert_group_size=size, expert_group_source=source)
        assert len(list((tmp_path / "profiles").glob("*.safetensors"))) == profiles
        assert (grouped_routing(module.model) is None) == (size is None)


def test_full_fine_tuning_moves_routers_and_an_adapter_belongs_to_its_grouping(
    base: str, rows: str, tmp_path: Path
) -> None:
    module, losses, _ = run(tmp_path, base, rows, FullFineTuning())
    assert len(losses) == 2
    fresh = make_module(base, FullFineTuning(), expert_group_size=2, expert_group_source=rows)
    fresh.load_base()
    gate = "layers.1.mlp.gate.weight"
    assert not torch.equal(module.model.model.get_parameter(gate), fresh.model.model.get_parameter(gate))
    assert module.base_fingerprint == fresh.base_fingerprint
    folder = save_adapter(
        module.model,
        tmp_path / "adapter",
        strategy="FullFineTuning",
        base=base,
        base_fingerprint=module.base_fingerprint,
    )
    with pytest.raises(AdapterError, match="load the base that it was trained on"):
        load_adapter(load_model(base, random_weights=True), folder)
    load_adapter(fresh.model, folder)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(fresh.model(ids).logits, module.model.eval()(ids).logits, rtol=0, atol=1e-5)


def test_without_the_setting_nothing_changes(base: str) -> None:
    module = make_module(base, ESFTToken())
    module.load_base()
    assert module.base_fingerprint == model_fingerprint(load_model(base, random_weights=True, dtype="float32"))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.model.modules())
    with pytest.raises(ValueError, match="expert_group_size must be at least 1"):
        make_module(base, ESFTToken(), expert_group_size=0)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"size": 2, "groups": {"1": [[0, 1]]}}', '{"size": 2, "groups": 3}']
)
def test_a_damaged_cached_grouping_is_made_anew_with_a_word(
    content: str, base: str, rows: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, tokenizer = load_model(base, random_weights=True), load_tokenizer(base)
    grouping = find_grouping(model, tokenizer, 2, source=rows, sequence_length=64, folder=tmp_path)
    (cached,) = tmp_path.iterdir()
    good = cached.read_text()
    cached.write_text(content)
    assert find_grouping(model, tokenizer, 2, source=rows, sequence_length=64, folder=tmp_path) == grouping
    assert cached.read_text() == good and f"made anew: {cached}" in caplog.text
