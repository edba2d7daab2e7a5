"""The verb `budget`: its tables, its help, and what it says about bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_families import tiny_family

from esft_lightning.__main__ import main
from esft_lightning.affinity import AffinityProfile
from esft_lightning.budget.sizes import parse_bytes, show_count


def test_tables_on_the_terminal(capsys):
    assert main(["budget", "--model", "tiny", "--sequence-length", "128", "--device-memory", "24GB"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "FullFineTuning",
        "LoRA r=8, unfused (paper)",
        "ESFT 5/64 assumed",
        "gradients",
        "GFLOPs per token",
    ):
        assert expected in out


@pytest.mark.parametrize(
    ("updates", "said"),
    [
        ("fp32_masters", ["kept in fp32, 16 bytes a parameter", "the largest (FullFineTuning)"]),
        ("kahan_summation", ["with Kahan summation, 10 bytes a parameter"]),
    ],
)
def test_says_how_what_trains_is_kept(capsys, updates, said):
    assert main(["budget", "--model", "tiny", "--sequence-length", "64", "--weight-updates", updates]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(words in out for words in said)
    assert ("Forwards round it" in out) == (updates == "fp32_masters")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "tiny", "--device-memory", "80"], "'80' is no size; expected"),
        (["--model", "tiny", "--top-p", "0.2"], "give one with --profile"),
        (["--model", "tiny", "--experts-per-layer", "65"], "--experts-per-layer 65 is out of range; expected 1 to 64"),
        (["--model", "tiny", "--trained-rows", "1.5"], "--trained-rows 1.5 is out of range"),
        (["--model", "tiny", "--batch-size", "0"], "batch size 0"),
        (["--model", "nowhere/at-all"], "nowhere/at-all"),
        (["--model", "tiny", "--profile", "absent.safetensors"], "absent.safetensors"),
    ],
)
def test_bad_input_is_named(capsys, arguments, message):
    assert main(["budget", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_a_selection_of_another_model_is_refused(capsys, tmp_path):
    path = tmp_path / "expert_cfg.json"
    path.write_text('{"experts": {"1": [64]}, "shared_experts": false, "non_expert_modules": false}')
    assert main(["budget", "--model", "tiny", "--expert-config", str(path)]) == 2
    assert "expert_cfg.json: experts[1]: expert 64 does not exist" in capsys.readouterr().err


def test_a_profile_of_another_model_is_refused(capsys, tmp_path):
    path = tmp_path / "affinity.safetensors"
    counts = np.full((1, 8), 2)
    sums = dict.fromkeys(("gate_sum", "sample_token", "sample_gate"), counts / 8.0)
    AffinityProfile((7,), 8, 2, counts, tokens=8, samples=1, **sums).save(path)
    assert main(["budget", "--model", "tiny", "--profile", str(path)]) == 2
    assert "the model has no MoE layer 7" in capsys.readouterr().err


def test_help_loads_no_heavy_library():
    program = (
        "import sys\nfrom esft_lightning.__main__ import main\n"
        "try: main(['budget', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_sizes():
    assert parse_bytes("80GiB") == 80 * 2**30 and parse_bytes("1.5 gb") == 1_500_000_000
    assert [show_count(n) for n in (1_072_693_248, 117_655_552, 8_650, 12)] == ["1.073B", "117.7M", "8.7k", "12"]


@pytest.mark.parametrize("family", ["jamba", "qwen3_next"])
def test_layers_without_attention_go_through(capsys, tmp_path, family):
    tiny_family(family).config.save_pretrained(tmp_path)
    assert main(["budget", "--model", str(tmp_path), "--sequence-length", "64", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["strategies"]
    assert all(row["memory"]["total"] > 0 for row in rows if "unfused" not in row["label"])


def test_a_step_that_needs_more_than_hidden_states_is_refused_and_its_parameters_counted(capsys, tmp_path):
    tiny_family("zaya").config.save_pretrained(tmp_path)
    arguments = ["budget", "--model", str(tmp_path), "--sequence-length", "64"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "ZayaForCausalLM" in said and "--parameters-only" in said
    assert main([*arguments, "--parameters-only"]) == 0
