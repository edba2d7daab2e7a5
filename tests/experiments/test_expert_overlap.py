"""The overlap of experts between tasks, and the nulls it is shown beside."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import deepseek_model

from esft_lightning.strategies import group_parameters
from experiments import routing
from experiments.expert_overlap import main, matrix_of, split_means


def test_redrawing_changes_the_routers_alone() -> None:
    before, after = deepseek_model(), routing.redraw_routers(deepseek_model(), seed=1)
    groups = group_parameters(before)
    old = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        assert torch.equal(parameter, old[name]) == (groups[name] != "router"), name
        if groups[name] == "router":
            torch.testing.assert_close(parameter.std(), old[name].std(), rtol=0.2, atol=0)


def test_published_logs_overlap_as_published(reference_data: Path) -> None:
    tasks, matrix = matrix_of(routing.read_logs(reference_data))
    assert tasks == ["intent", "law"]
    assert np.round(matrix.diagonal(), 2).tolist() == [5.81, 5.35]
    assert split_means(matrix)[1] < 1


def test_measures_three_models_once_and_writes_a_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--tasks", "law", "intent", "--tokens", "1024", "--output", str(tmp_path)]
    assert main(arguments) == 0
    section = tmp_path / "expert_overlap"
    rows = list(csv.reader((section / "expert_overlap.csv").open()))[1:]
    assert [row[0] for row in rows] == ["tiny, trained", "tiny, routers drawn anew", "tiny, untrained model"]
    for row in rows:
        within, between, chance = map(float, row[1:4])
        assert chance == 0.56
        assert 0 <= between < within <= 6
    assert (section / "expert_overlap.png").stat().st_size > 10_000
    claims = json.loads((section / "claims.json").read_text())
    assert len(claims) == 2
    assert all("null" in claim["test"] for claim in claims)
    # drawn again from the cache: no model is loaded, and the same comes out
    first = (section / "section.md").read_bytes()
    monkeypatch.setattr(routing, "loaders", lambda settings, seed: dict.fromkeys(routing.NULLS_AND_TRAINED))
    assert main(arguments) == 0
    assert (section / "section.md").read_bytes() == first
    assert "between tasks" in capsys.readouterr().out


def test_the_paper_preset_tells_its_plan_and_loads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--preset", "paper", "--plan"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "deepseek-ai/DeepSeek-V2-Lite" in said
    assert "131,072 tokens" in said


def test_bad_settings_and_logs_are_said_before_anything_is_profiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tasks", "law", "--output", str(tmp_path)]) == 2
    assert main(["--tokens", "4", "--output", str(tmp_path)]) == 2
    assert main(["--routing-logs", str(tmp_path), "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "at least 2 tasks" in said
    assert "0 routing logs; expected TASK.npz files" in said
    assert not list(tmp_path.iterdir())
