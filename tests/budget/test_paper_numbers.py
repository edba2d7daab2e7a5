"""DeepSeek-V2-Lite's budget from its configuration: the paper's arithmetic, and what a run here really trains."""

import json

import pytest
from budget_configs import write_published

from esft_lightning.__main__ import main


@pytest.fixture
def lite(tmp_path):
    return write_published(tmp_path / "lite", "deepseek_v2_lite")


def budget(capsys, *arguments) -> dict:
    assert main(["budget", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def by_label(found: dict) -> dict[str, dict]:
    return {row["label"]: row for row in found["strategies"]}


def test_the_base_and_lora_by_both_arithmetics(lite, capsys):
    found = budget(capsys, "--model", lite, "--parameters-only", "--lora-rank", 8, 64)
    base, rows = found["base"], by_label(found)
    assert base["parameters"] == 15_706_484_224
    groups = base["groups"]
    assert groups["routed experts"] == 26 * 64 * 8_650_752
    assert groups["shared experts"] == 449_839_104
    others = base["parameters"] - groups["routed experts"] - groups["shared experts"]
    assert others == pytest.approx(861.8e6, rel=1e-4)
    # One pair of factors for the fused gate and up projection of an expert, as peft attaches it, or one each.
    assert rows["LoRA r=8"]["trained"] == pytest.approx(117.7e6, rel=1e-3)
    assert rows["LoRA r=8, unfused (paper)"]["trained"] == pytest.approx(145e6, rel=2e-3)
    assert rows["LoRA r=64, unfused (paper)"]["trained"] == pytest.approx(1.16e9, rel=2e-3)
    assert rows["LoRA r=8, unfused (paper)"]["groups"]["routed experts"] == 26 * 64 * 3 * 8 * (2048 + 1408)
    assert rows["FrozenExperts"]["trained"] == pytest.approx(1.3e9, rel=1e-2)  # the paper's Table 3
    assert rows["FullFineTuning"]["adapter_bytes"] == 2 * base["parameters"]
    assert "memory" not in rows["FullFineTuning"]


def test_the_published_selection_of_the_intent_task(lite, capsys, reference_data):
    config = reference_data / "esft/expert_configs/intent.json"
    rows = by_label(budget(capsys, "--model", lite, "--expert-config", config, "--parameters-only"))
    esft = rows["ESFT intent.json"]
    assert esft["trained"] == 124 * 8_650_752 == pytest.approx(1.073e9, rel=1e-3)
    assert esft["adapter_bytes"] == 2 * esft["trained"]  # in the base's bf16, though trained in fp32
    assert rows["ESFT intent.json + shared"]["trained"] == esft["trained"] + 449_839_104


def test_rows_that_hit_trained_experts_come_from_the_profile(lite, capsys, reference_data, tmp_path):
    from esft_lightning.affinity import read_routing_log

    profile = tmp_path / "affinity.safetensors"
    read_routing_log(reference_data / "esft/routing/intent.npz", layer_offset=1, num_experts=64).save(profile)
    short = ("--sequence-length", 256)
    config = reference_data / "esft/expert_configs/intent.json"
    selected = by_label(budget(capsys, "--model", lite, "--profile", profile, *short))
    balanced = by_label(budget(capsys, "--model", lite, "--expert-config", config, *short))
    token, given = selected["ESFTToken p=0.2"], balanced["ESFT intent.json"]
    assert token["trained"] == given["trained"]
    # 124 of 1,664 experts would get 7 % of the rows if routing were balanced; selected by p = 0.2, they get 20 %.
    assert token["flops_per_token"]["backward"] > given["flops_per_token"]["backward"]
    assert token["flops_per_token"]["forward"] == given["flops_per_token"]["forward"]


def test_236_billion_parameters_go_through(tmp_path, capsys):
    found = budget(capsys, "--model", write_published(tmp_path, "deepseek_v2"), "--sequence-length", 1024)
    rows = by_label(found)
    assert found["base"]["parameters"] == pytest.approx(235.7e9, rel=1e-3)
    full, esft = rows["FullFineTuning"], rows["ESFT 12/160 assumed"]
    # fp32 masters: two moments of 4 bytes
    assert full["memory"]["optimizer"] == pytest.approx(8 * found["base"]["parameters"], rel=1e-6)
    assert esft["memory_checkpointed"]["total"] < esft["memory"]["total"] < full["memory"]["total"]
    assert esft["memory_checkpointed"]["devices"] < full["memory_checkpointed"]["devices"]
