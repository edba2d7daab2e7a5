"""The verb `select`: released files end to end, what it never imports, and what it says about bad input."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from esft_lightning.__main__ import main
from esft_lightning.affinity.routing_log import read_routing_log
from esft_lightning.affinity.selection import ExpertSelection, select_random, select_top_p

PROGRAM = """
import argparse, json, sys
from esft_lightning.commands.select import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
code = run(parser.parse_args())
heavy = [name for name in ("torch", "torchmetrics", "lightning", "transformers") if name in sys.modules]
print(json.dumps({"code": code, "heavy": heavy}))
"""

AS_RELEASED = ("--score", "token", "--top-p", "0.2", "--round", "4", "--layer-offset", "1")


def select(*arguments: object) -> int:
    return main(["select", *(str(argument) for argument in arguments)])


@pytest.fixture
def small_log(tmp_path: Path) -> Path:
    """Two layers, 8 experts, top 2; gates as a router without renormalisation gives them."""
    generator = np.random.default_rng(0)
    ids = generator.random((2, 40, 8)).argsort(-1)[..., :2].astype(np.uint8)
    gates = generator.random((2, 40, 2)).astype(np.float32) * np.array([0.5, 0.4], np.float32)[:, None, None]
    path = tmp_path / "log.npz"
    np.savez(path, expert_ids=ids, gate_weights=gates, sample_lengths=np.array([10, 30]))
    return path


@pytest.mark.parametrize("task", ["intent", "law"])
def test_released_config_from_released_log_within_a_second_without_torch(
    reference_data: Path, tmp_path: Path, task: str
):
    output = tmp_path / "out.json"
    log = reference_data / f"esft/routing/{task}.npz"
    command = [sys.executable, "-c", PROGRAM, *AS_RELEASED, "--routing-log", str(log), "--output", str(output)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "heavy": []}
    released = json.loads((reference_data / f"esft/expert_configs/{task}.json").read_text())
    assert json.loads(output.read_text()) == released
    # Processor time, which other processes on the machine do not lengthen.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 1.0


def test_profile_and_log_select_alike(small_log: Path, tmp_path: Path):
    profile = read_routing_log(small_log, layer_offset=3)
    profile.save(tmp_path / "p.safetensors")
    options = ("--score", "gate", "--average", "sample", "--normalize", "--top-p", 0.4, "--output")
    assert select("--routing-log", small_log, "--layer-offset", 3, *options, tmp_path / "a.json") == 0
    assert select("--profile", tmp_path / "p.safetensors", *options, tmp_path / "b.json") == 0
    expected = select_top_p(profile.scores("gate", "sample", normalize=True), (3, 4), 0.4)
    assert ExpertSelection.load(tmp_path / "a.json") == ExpertSelection.load(tmp_path / "b.json") == expected


def test_top_k_and_switches(small_log: Path, tmp_path: Path, capsys):
    arguments = ("--score", "token", "--top-k", 3, "--shared-experts", "--non-expert-modules")
    assert select("--routing-log", small_log, *arguments, "--output", tmp_path / "o.json") == 0
    selection = ExpertSelection.load(tmp_path / "o.json")
    assert selection.per_layer() == {0: 3, 1: 3} and selection.shared_experts and selection.non_expert_modules
    printed = capsys.readouterr().out
    assert "6 experts" in printed and "o.json" in printed


def test_random_like_another_selection(small_log: Path, tmp_path: Path):
    like = ExpertSelection({0: [1, 2, 3], 1: [7]}, shared_experts=True)
    like.save(tmp_path / "like.json")
    arguments = ("--routing-log", small_log, "--random-like", tmp_path / "like.json", "--seed", 5)
    assert select(*arguments, "--output", tmp_path / "o.json") == 0
    assert ExpertSelection.load(tmp_path / "o.json") == select_random(like, 8, 5)


def test_without_output_only_the_table_is_shown(small_log: Path, tmp_path: Path, capsys):
    assert select("--routing-log", small_log, "--score", "token", "--top-p", 0.2) == 0
    assert sorted(tmp_path.iterdir()) == [small_log]
    assert "40 tokens in 2 samples" in capsys.readouterr().out


def test_unreached_layers_are_marked(small_log: Path, capsys):
    assert select("--routing-log", small_log, "--score", "gate", "--top-p", 0.9) == 0
    printed = capsys.readouterr().out
    assert "8*" in printed and "less than 0.9: all experts selected" in printed


def test_raw_p_on_a_renormalised_router_is_warned_of(tmp_path: Path, small_log: Path, capsys):
    arrays = dict(np.load(small_log))
    arrays["gate_weights"] /= arrays["gate_weights"].sum(-1, keepdims=True)
    path = tmp_path / "renormalised.npz"
    np.savez(path, **arrays)
    for extra, warned in (((), True), (("--normalize",), False)):
        assert select("--routing-log", path, "--score", "gate", "--top-p", 0.1, *extra) == 0
        assert ("renormalises its gates" in capsys.readouterr().err) is warned
    assert select("--routing-log", small_log, "--score", "gate", "--top-p", 0.1) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--routing-log", "none.npz", "--score", "token", "--top-p", 0.2), "none.npz"),
        (("--profile", "none.safetensors", "--score", "token", "--top-p", 0.2), "none.safetensors"),
        (("--routing-log", "LOG", "--top-p", 0.2), "--score is missing"),
        (("--routing-log", "LOG", "--score", "token", "--top-p", 0), "p=0.0"),
        (("--routing-log", "LOG", "--score", "token", "--top-p", "nan"), "p=nan"),
        (("--routing-log", "LOG", "--score", "token", "--top-k", 9), "expected 1 to 8"),
        (("--routing-log", "LOG", "--score", "token", "--top-k", 2, "--layer-offset", -1), "--layer-offset -1"),
        (("--routing-log", "LOG", "--score", "token", "--top-k", 2, "--round", -2), "--round -2"),
        (("--routing-log", "LOG", "--score", "token", "--top-k", 2, "--num-experts", 4), "log.npz: expert_ids holds"),
        (("--profile", "LOG", "--score", "token", "--top-k", 2), "log.npz: not a safetensors file"),
        (("--profile", "LOG", "--score", "token", "--top-k", 2, "--layer-offset", 1), "drop them"),
        (("--routing-log", "LOG", "--random-like", "LOG"), "log.npz: "),
        (("--routing-log", "LOG", "--score", "token", "--top-k", 2, "--output", "LOG/o.json"), "log.npz"),
    ],
)
def test_bad_input_ends_in_2_with_one_line(small_log: Path, capsys, arguments, message):
    assert select(*(str(a).replace("LOG", str(small_log)) for a in arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("error: ") and message in captured.err


def test_random_like_a_selection_of_another_model(small_log: Path, tmp_path: Path, capsys):
    ExpertSelection({26: [1]}).save(tmp_path / "like.json")
    assert select("--routing-log", small_log, "--random-like", tmp_path / "like.json") == 2
    assert "no MoE layer 26; its MoE layers are 0–1; is --layer-offset right?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--score", "token", "--top-p", 0.2),
        ("--routing-log", "a", "--profile", "b", "--score", "token", "--top-p", 0.2),
        ("--routing-log", "a", "--score", "token"),
        ("--routing-log", "a", "--score", "token", "--top-p", 0.2, "--top-k", 3),
        ("--routing-log", "a", "--score", "gates", "--top-p", 0.2),
    ],
)
def test_argparse_refuses_what_is_not_one_source_and_one_rule(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        select(*arguments)
    assert caught.value.code == 2
    capsys.readouterr()
