"""All experiments, one page."""

from pathlib import Path

import pytest

from experiments import paper


def test_sections_become_a_page_with_the_verdicts(tmp_path: Path) -> None:
    names = ["routing_concentration", "experts_per_layer"]
    settings = ["--only", *names, "--tasks", "law", "math", "--tokens", "512"]
    settings += ["--output", str(tmp_path / "runs"), "--docs", str(tmp_path / "docs")]
    assert paper.main([*settings, "--plan"]) == 0
    assert not (tmp_path / "docs").exists()
    assert paper.main(settings) == 0
    page = (tmp_path / "docs" / "README.md").read_text()
    assert page.index("## The paper's claims") < page.index("## Is routing concentrated? (Fig. 2)")
    assert "](experts_per_layer/experts_per_layer.png)" in page
    assert (tmp_path / "docs" / "experts_per_layer" / "experts_per_layer.tex").is_file()


def test_a_failed_experiment_does_not_stop_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--only", "expert_overlap", "--tasks", "law", "--output", str(tmp_path / "runs")]
    assert paper.main([*settings, "--docs", str(tmp_path / "docs")]) == 1
    assert "failed: expert_overlap" in capsys.readouterr().err
    assert not (tmp_path / "docs").exists()


def test_every_experiment_of_the_page_has_its_settings_and_its_module() -> None:
    from importlib import import_module

    from experiments.settings import FOLDER

    for name in paper.ORDER:
        assert (FOLDER / f"{name}.yaml").is_file()
        assert name == import_module(f"experiments.{name}").NAME


def test_an_unknown_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        paper.main(["--only", "nothing"])
    assert "routing_concentration" in capsys.readouterr().err
