"""`ExpertAffinity` against brute force, its algebra (additive, order-free), torchmetrics' contract, two processes."""

import copy
import multiprocessing
import pickle
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esft_lightning.affinity.metric import ExpertAffinity
from esft_lightning.affinity.profile import AffinityProfile

LAYERS, EXPERTS, TOP_K = (1, 2, 5), 8, 3
SUMS = ("token_count", "gate_sum", "sample_token", "sample_gate", "tokens", "samples")


def make_routing(tokens: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[int, SimpleNamespace]:
    generator = torch.Generator().manual_seed(seed)
    routing = {}
    for layer in LAYERS:
        probabilities = torch.rand(tokens, EXPERTS, generator=generator).softmax(-1)
        weights, index = probabilities.topk(TOP_K, dim=-1)
        routing[layer] = SimpleNamespace(top_k_index=index, top_k_weights=weights.to(dtype))
    return routing


def taken(routing, rows):
    return {
        layer: SimpleNamespace(top_k_index=r.top_k_index[rows], top_k_weights=r.top_k_weights[rows])
        for layer, r in routing.items()
    }


def make_metric(**options) -> ExpertAffinity:
    return ExpertAffinity(LAYERS, EXPERTS, TOP_K, **options)


def same_sums(a: ExpertAffinity, b: ExpertAffinity) -> None:
    for name in SUMS:
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-12)


def brute_force(batches, score: str, average: str, normalize: bool) -> list[list[float]]:
    """Equations 6 and 7, token by token and expert by expert."""
    table = []
    for layer in LAYERS:
        per_sample = []  # [(length, {expert: sum})]
        for routing, ids in batches:
            for sample in sorted(set(ids)):
                rows = [t for t, owner in enumerate(ids) if owner == sample]
                sums = [0.0] * EXPERTS
                for t in rows:
                    for expert, gate in zip(
                        routing[layer].top_k_index[t].tolist(), routing[layer].top_k_weights[t].tolist(), strict=True
                    ):
                        sums[expert] += gate if score == "gate" else 1 / TOP_K
                per_sample.append((len(rows), sums))
        if average == "sample":
            row = [sum(s[e] / n for n, s in per_sample) / len(per_sample) for e in range(EXPERTS)]
        else:
            row = [sum(s[e] for _, s in per_sample) / sum(n for n, _ in per_sample) for e in range(EXPERTS)]
        table.append([value / sum(row) for value in row] if normalize else row)
    return table


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", ["token", "sample"])
@pytest.mark.parametrize("score", ["token", "gate"])
def test_scores_equal_brute_force(score, average, normalize):
    batches = [(make_routing(9, 1), [4, 0, 4, 4, 7, 0, 7, 7, 7]), (make_routing(5, 2), [0, 1, 1, 0, 0])]
    metric = make_metric(score=score, average=average, normalize=normalize)
    for routing, ids in batches:
        metric.update(routing, torch.tensor(ids))
    expected = torch.tensor(brute_force(batches, score, average, normalize), dtype=torch.float64)
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-6, atol=1e-9)
    profile = metric.profile(counting="all", model_fingerprint="m")
    np.testing.assert_allclose(profile.scores(score, average, normalize), metric.compute().numpy(), rtol=1e-14)
    assert (profile.tokens, profile.samples, profile.layers) == (14, 5, LAYERS)
    assert profile.metadata == {"counting": "all", "model_fingerprint": "m"}


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=24), st.integers(0, 99), st.randoms())
@settings(max_examples=40, deadline=None)
def test_order_of_tokens_and_names_of_samples_do_not_matter(ids, seed, random):
    routing = make_routing(len(ids), seed)
    order = list(range(len(ids)))
    random.shuffle(order)
    one, other = make_metric(), make_metric()
    one.update(routing, torch.tensor(ids))
    other.update(taken(routing, order), torch.tensor([100 - 7 * ids[t] for t in order]))
    same_sums(one, other)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_updates_add_up(lengths, seed):
    """One batch of whole samples = a call for each sample, in any order, with or without ids."""
    routing = make_routing(sum(lengths), seed)
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    whole, parts = make_metric(), make_metric()
    whole.update(routing, ids)
    for sample in reversed(range(len(lengths))):
        part = taken(routing, ids == sample)
        if sample % 2:
            parts.update(part, ids[ids == sample])
        else:
            parts.update(part)
    same_sums(whole, parts)


def test_equal_lengths_make_both_averages_agree():
    by_token, by_sample = make_metric(average="token"), make_metric(average="sample")
    for metric in (by_token, by_sample):
        metric.update(make_routing(12), torch.arange(12) // 4)
    torch.testing.assert_close(by_token.compute(), by_sample.compute())


def test_bfloat16_gates_are_summed_in_float64():
    metric = make_metric()
    routing = make_routing(4096, dtype=torch.bfloat16)
    metric.update(routing)
    exact = sum(float(w) for w in routing[1].top_k_weights.double().flatten())
    assert metric.gate_sum.dtype == torch.float64
    assert float(metric.gate_sum[0].sum()) == pytest.approx(exact, rel=1e-14)


def test_a_batch_without_tokens_changes_nothing_and_other_layers_are_ignored():
    metric = make_metric()
    metric.update(make_routing(0), torch.zeros(0, dtype=torch.int64))
    assert int(metric.tokens) == 0 and int(metric.samples) == 0
    metric.update(make_routing(3) | {9: None})
    assert int(metric.tokens) == 3


def test_nothing_counted_is_an_error():
    for call in (make_metric().compute, make_metric().profile):
        with pytest.raises(ValueError, match="no token was counted"):
            call()


def test_update_reads_nothing_back_from_the_device():
    """Meta tensors have no values: any operation that made the host wait for one would raise here."""
    metric = make_metric().to("meta")
    routing = {
        layer: SimpleNamespace(top_k_index=r.top_k_index.to("meta"), top_k_weights=r.top_k_weights.to("meta"))
        for layer, r in make_routing(6).items()
    }
    metric.update(routing, torch.zeros(6, dtype=torch.int64, device="meta"))
    assert metric.gate_sum.shape == (3, 8) and metric.samples.is_meta


def test_gradients_do_not_reach_the_states():
    routing = make_routing(4)
    for layer in routing.values():
        layer.top_k_weights.requires_grad_()
    metric = make_metric()
    metric.update(routing)
    assert not metric.gate_sum.requires_grad and not metric.compute().requires_grad


@pytest.mark.parametrize(
    ("change", "ids", "message"),
    [
        (lambda r: r.pop(5), None, r"layer 5 is missing; expected layers \[1, 2, 5\], got \[1, 2\]"),
        (lambda r: r.update({2: make_routing(3)[2]}), None, r"layer 2: top_k_index has shape \[3, 3\]"),
        (lambda r: setattr(r[5], "top_k_weights", torch.ones(4, 2)), None, r"layer 5: top_k_weights .*= \[4, 3\]"),
        (lambda r: None, torch.zeros(5), r"sample_ids has shape \[5\]; expected one id per kept token, \[4\]"),
    ],
)
def test_bad_routing_is_named(change, ids, message):
    routing = make_routing(4)
    change(routing)
    with pytest.raises(ValueError, match=message):
        make_metric().update(routing, ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), 8, 2), "layers"),
        (((1, 1), 8, 2), "distinct"),
        (((1,), 8, 9), "top_k is 9"),
        (((1,), 8, 2, "gates"), "score='gates'"),
        (((1,), 8, 2, "gate", "row"), "average='row'"),
    ],
)
def test_bad_construction_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExpertAffinity(*arguments)


def test_torchmetrics_reset_forward_merge_copy_and_pickle():
    metric, twin = make_metric(), make_metric()
    metric.update(make_routing(6, 1))
    metric.reset()
    metric.update(make_routing(7, 2), torch.arange(7) // 3)
    twin.update(make_routing(7, 2), torch.arange(7) // 3)
    same_sums(metric, twin)

    batch_value = metric(make_routing(4, 3))  # forward: the batch's own value, and the state goes on
    alone = make_metric()
    alone.update(make_routing(4, 3))
    torch.testing.assert_close(batch_value, alone.compute())
    assert int(metric.tokens) == 11

    twin.merge_state(alone)
    same_sums(metric, twin)
    same_sums(metric, pickle.loads(pickle.dumps(metric)))
    clone = copy.deepcopy(metric)
    clone.update(make_routing(1))
    assert int(metric.tokens) == 11 and int(clone.tokens) == 12


def test_precision_of_the_states_survives_a_cast_of_the_module_around_it():
    module = torch.nn.Module()
    module.affinity = make_metric()
    module.to(torch.bfloat16).half()
    module.affinity.update(make_routing(3))
    assert module.affinity.gate_sum.dtype == torch.float64 and module.affinity.token_count.dtype == torch.int64


def test_profile_leaves_the_metric_counting():
    metric = make_metric()
    metric.update(make_routing(3))
    first = metric.profile()
    metric.update(make_routing(2, 5))
    assert (first.tokens, metric.profile().tokens) == (3, 5)
    assert first.token_count.sum() == 3 * 3 * TOP_K


def _run_rank(rank: int, folder: str) -> ExpertAffinity:
    """Join the other process, count this rank's share of three batches (rank 0 two, rank 1 one), store the results."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=90)
    )
    try:
        metric = make_metric(average="sample")
        for batch in range(rank, 3, 2):
            metric.update(make_routing(5 + batch, batch), torch.arange(5 + batch) // 2)
        torch.save(metric.compute(), f"{folder}/{rank}.pt")
        metric.profile(counting="all").save(f"{folder}/{rank}.safetensors")
        return metric
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path):
    """This process is rank 0, since starting a second interpreter with torch is what such a test costs."""
    other = multiprocessing.get_context("spawn").Process(target=_run_rank, args=(1, str(tmp_path)), daemon=True)
    other.start()
    try:
        own = _run_rank(0, str(tmp_path))
        other.join(60)
        assert other.exitcode == 0
    finally:
        other.kill()
    alone = make_metric(average="sample")
    for batch in range(3):
        alone.update(make_routing(5 + batch, batch), torch.arange(5 + batch) // 2)
    expected = alone.profile(counting="all")
    assert int(own.tokens) == 12  # after the reduction each rank has its own sums again, and can go on
    for rank in (0, 1):
        scores = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(scores, alone.compute(), rtol=1e-12, atol=1e-15)
        profile = AffinityProfile.load(tmp_path / f"{rank}.safetensors")
        np.testing.assert_array_equal(profile.token_count, expected.token_count)
        for name in ("gate_sum", "sample_token", "sample_gate"):
            np.testing.assert_allclose(getattr(profile, name), getattr(expected, name), rtol=1e-12)
        assert (profile.tokens, profile.samples) == (18, expected.samples)
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
