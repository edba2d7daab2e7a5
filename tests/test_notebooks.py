"""The notebooks run from top to bottom, and what is committed came from such a run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / "notebooks"))
from run import NOTEBOOKS, run

SAID = {
    "1_affinity_and_specialisation": ["4 MoE layers, 64 experts, top 6", "ESFT-Token p=0.2"],
    "2_strategies_compared": ["5 runs of", "0 failed", "ESFTToken − RandomExperts"],
    "3_adapters_in_use": ["with the adapter of intent", "bit-identical: True", "merged and in use agree: True"],
}


def texts(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SAID)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESFT_NOTEBOOK_QUICK", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    (tmp_path / "notebooks").mkdir()
    made = run(path, tmp_path / "notebooks")
    for text in SAID[path.stem]:
        assert text in texts(made)
    assert pictures(made) == pictures(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_whole_light_and_clean(path: Path) -> None:
    assert path.stat().st_size < 300_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for text in SAID[path.stem]:
        assert text in texts(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run anew, from top to bottom"
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
            assert output.output_type != "error"
    assert not re.search(r"(/home/|/root/|/work/|/Users/|site-packages)", path.read_text(encoding="utf-8"))
