"""Runs with rounded experts beside runs without, compared seed by seed."""

import json

import pytest

from benchmarks.quantised_experts import differences, main


def test_differences_are_of_runs_of_the_same_seed():
    runs = [{"full": {"loss": 1.0}, "int8": {"loss": 1.1}}, {"full": {"loss": 2.0}, "int8": {"loss": 1.8}}]
    mean, error = differences(runs, "int8", "loss")
    assert mean == pytest.approx(0, abs=1e-12) and error == pytest.approx(0.1)
    assert differences(runs[:1], "int8", "loss") == (pytest.approx(0.1), 0.0)


def test_every_seed_is_kept_and_every_figure_compared(tmp_path, capsys):
    output = tmp_path / "found" / "quantised.json"
    main(["--tasks", "law", "--steps", "2", "--seeds", "2", "--rows", "100", "--output", str(output)])
    first, second = json.loads(output.read_text())["tasks"]["law"]
    assert first["full"]["train_loss"] != second["full"]["train_loss"]  # another order of the rows
    for run in (first, second):
        assert run["full"]["base_bytes"] == run["nudged"]["base_bytes"]
        for name, share in (("int8", 0.5), ("nf4", 0.35)):
            assert run[name]["base_bytes"] < share * run["full"]["base_bytes"]
            assert 0 < abs(run[name]["train_loss"] - run["full"]["train_loss"]) < 0.1
    printed = capsys.readouterr().out
    assert printed.count("int8  ") == printed.count("nf4  ") == 4
