"""The profiling pass: what it counts, that it disturbs nothing, when it is not run again, when it is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from training_runs import make_data, make_module, make_trainer, train, trained_values, write_base, write_rows

from esft_lightning.affinity import AffinityProfile, ExpertSelection
from esft_lightning.profiling.measurement import measure_affinity
from esft_lightning.strategies import ESFT, ESFTGate, ESFTToken
from esft_lightning.training.callbacks import ExpertAffinityProfiler
from esft_lightning.training.run_folder import run_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def brute_force(model: Any, batches: list[Any], counting: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Token counts and gate sums [L, E] from the router's own arithmetic, token by token."""
    counts, gates, tokens = np.zeros((2, 8)), np.zeros((2, 8)), 0
    for batch in batches:
        keep = (batch["token_mask"] if counting == "all" else batch["labels"] != -100).reshape(-1)
        tokens += int(keep.sum())
        with torch.no_grad():
            hidden = model.model(batch["input_ids"], use_cache=False, output_hidden_states=True).hidden_states
            for row, layer in enumerate((1, 2)):
                block = model.model.layers[layer]
                x = hidden[layer]
                position = torch.arange(x.shape[1])[None]
                rope = model.model.rotary_emb(x, position_ids=position)
                mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)[None, None]
                attended, _ = block.self_attn(
                    block.input_layernorm(x), attention_mask=mask, position_embeddings=rope, position_ids=position
                )
                u = block.post_attention_layernorm(x + attended).reshape(-1, x.shape[-1])[keep]
                top = (u @ block.mlp.gate.weight.T).softmax(-1).topk(2)
                for ids, weights in zip(top.indices.tolist(), top.values.tolist(), strict=True):
                    for expert, weight in zip(ids, weights, strict=True):
                        counts[row, expert] += 1
                        gates[row, expert] += weight
    return counts, gates, tokens


@pytest.mark.parametrize("counting", ["all", "response"])
def test_the_profile_is_what_the_routers_did_with_real_tokens(counting: Any, base: str, rows: str) -> None:
    data = make_data(base, rows)
    data.setup("fit")
    model = make_module(base, ESFTGate()).load_base()
    profile = measure_affinity(model, data.profile_dataloader(), counting=counting)
    counts, gates, tokens = brute_force(model, list(data.profile_dataloader()), counting)
    assert profile.layers == (1, 2) and profile.tokens == tokens
    np.testing.assert_array_equal(profile.token_count, counts)
    np.testing.assert_allclose(profile.gate_sum, gates, rtol=1e-5)


def test_the_budget_ends_the_pass_after_a_whole_batch(base: str, rows: str) -> None:
    data = make_data(base, rows)
    data.setup("fit")
    first = next(iter(data.profile_dataloader()))
    model = make_module(base, ESFTGate()).load_base()
    profile = measure_affinity(model, data.profile_dataloader(), token_budget=int(first["token_mask"].sum()))
    assert profile.tokens == int(first["token_mask"].sum()) and profile.samples == len(first["row_index"])


def test_a_profile_found_in_the_cache_gives_the_run_that_profiling_gave(
    base: str, rows: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, losses, _ = train(tmp_path, base, rows, ESFTGate(), steps=3)
    assert "found in the cache" not in caplog.text
    second, again, _ = train(tmp_path, base, rows, ESFTGate(), steps=3)
    assert "found in the cache" in caplog.text
    assert again == losses and first.selection == second.selection
    left, right = trained_values(first), trained_values(second)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_another_model_data_budget_or_rule_is_profiled_anew(base: str, rows: str, tmp_path: Path) -> None:
    def run(profiler: ExpertAffinityProfiler, base: str = base, **data: Any) -> int:
        train(tmp_path, base, rows, ESFTGate(), steps=1, callbacks=[profiler], data=data)
        return len(list((tmp_path / "profiles").iterdir()))

    assert run(ExpertAffinityProfiler()) == 1
    assert run(ExpertAffinityProfiler()) == 1
    assert run(ExpertAffinityProfiler(token_budget=300)) == 2
    assert run(ExpertAffinityProfiler(counting="response")) == 3
    assert run(ExpertAffinityProfiler(), sequence_length=48) == 4
    assert run(ExpertAffinityProfiler(), base=write_base(tmp_path / "other", moe_intermediate_size=8)) == 5


def test_profile_and_selection_are_left_in_the_run_folder(base: str, rows: str, tmp_path: Path) -> None:
    module, _, trainer = train(tmp_path, base, rows, ESFTToken(), steps=1)
    folder = run_folder(trainer)
    profile = AffinityProfile.load(folder / "affinity.safetensors")
    assert profile.metadata["model_fingerprint"] == module.base_fingerprint
    assert profile.metadata["counting"] == "all"
    assert ExpertSelection.load(folder / "expert_cfg.json") == module.selection == ESFTToken().select(profile)


def test_given_experts_are_trained_without_a_profile(base: str, rows: str, tmp_path: Path) -> None:
    given = ExpertSelection({1: [3, 1], 2: [0]})
    given.save(tmp_path / "given.json")
    strategy = ESFTGate(expert_config=str(tmp_path / "given.json"))
    module, _, trainer = train(tmp_path, base, rows, strategy, steps=1)
    assert module.model.model.layers[1].mlp.experts.trained_bank.expert_ids == [1, 3]
    assert not (tmp_path / "profiles").exists()
    assert ExpertSelection.load(run_folder(trainer) / "expert_cfg.json").experts == given.experts


def test_an_engine_that_cannot_be_rewrapped_is_refused_before_any_work(base: str, rows: str, tmp_path: Path) -> None:
    profiler, module, data = ExpertAffinityProfiler(), make_module(base, ESFTGate()), make_data(base, rows)
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.strategy.connect(module)
    trainer._data_connector.attach_data(module, datamodule=data)
    data.setup("fit")
    trainer._accelerator_connector.strategy = FSDPStrategy()  # what `trainer.strategy` gives; CPUs cannot start it
    with pytest.raises(MisconfigurationException, match="python -m esft_lightning profile"):
        profiler.setup(trainer, module, "fit")
    assert not module.installed


@pytest.mark.parametrize("score", ["gate_norm", "activation", "fisher"])
def test_a_score_that_routing_does_not_give_is_measured_when_a_strategy_selects_by_it(
    base: str, rows: str, tmp_path: Path, score: Any
) -> None:
    plain = ExpertAffinityProfiler(token_budget=200, cache_dir=str(tmp_path))
    train(tmp_path, base, rows, ESFTToken(), steps=1, callbacks=[plain])
    asked = ExpertAffinityProfiler(token_budget=200, cache_dir=str(tmp_path))
    module, _, _ = train(tmp_path, base, rows, ESFT(score=score, top_k=2), steps=1, callbacks=[asked])
    assert module.selection is not None
    assert plain.profile is not None
    assert asked.profile is not None
    assert not plain.profile.measured
    assert np.array_equal(plain.profile.token_count, asked.profile.token_count)
    scores = asked.profile.scores(score)
    assert scores.sum(1) == pytest.approx(1)
    assert ((scores > 0) <= (asked.profile.token_count > 0)).all()
    best = {layer: sorted(np.argsort(-scores[row])[:2]) for row, layer in enumerate(asked.profile.layers)}
    assert {layer: sorted(ids) for layer, ids in module.selection.experts.items()} == best
    assert len(list(tmp_path.glob("intent-*.safetensors"))) == 2, "the plain profile is not taken for the measured one"
    kept = AffinityProfile.load(
        next(p for p in tmp_path.glob("intent-*.safetensors") if AffinityProfile.load(p).measured)
    )
    assert np.array_equal(kept.scores(score), scores)
    with pytest.raises(ValueError, match=f"the profile holds no '{score}'"):
        plain.profile.scores(score)
    doubled = asked.profile.plus(asked.profile)
    assert doubled.scores(score) == pytest.approx(scores)
    with pytest.raises(ValueError, match="one profile measured"):
        plain.profile.plus(asked.profile)


def test_a_damaged_cached_profile_is_made_anew_with_a_word(base: str, rows: str, tmp_path: Path) -> None:
    def run() -> Any:
        profiler = ExpertAffinityProfiler(token_budget=300, cache_dir=str(tmp_path / "cache"))
        module, _, _ = train(tmp_path, base, rows, ESFTToken(), steps=1, callbacks=[profiler])
        return module.selection

    selection = run()
    (cached,) = (tmp_path / "cache").iterdir()
    good = cached.read_bytes()
    for content in (good[:500], b"", good[:-10]):
        cached.write_bytes(content)
        with pytest.warns(UserWarning, match=rf"damaged, and is made anew.*{cached.name}"):
            assert run() == selection
        assert cached.read_bytes() == good
