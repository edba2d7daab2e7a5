"""`-c FILE`: found beside the user or among those that come along, and refused by line where it cannot be read."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from places import ROOT

from esft_lightning.commands.config_files import CONFIGS, config_values, find_config, read_config
from esft_lightning.errors import FileError, SettingError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_shipped_ones_are_found_from_any_folder_and_a_local_one_goes_first(tmp_path: Path) -> None:
    for name in ("configs/models/tiny.yaml", "./configs/strategies/lora.yaml"):
        found = find_config(name)
        assert found is not None and found.read_bytes() == (ROOT / name).read_bytes()
    local = tmp_path / "configs/models/tiny.yaml"
    local.parent.mkdir(parents=True)
    local.write_text("model: {base: mine}\n")
    assert read_config(find_config("configs/models/tiny.yaml") or Path())["model"]["base"] == "mine"
    assert find_config("configs/models/olmoe_1b_7b.yaml") is not None


def test_every_file_that_a_command_may_name_is_in_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["esft_lightning.configs"]
    shipped = ROOT / "esft_lightning" / "configs"
    for kind in ("models", "strategies", "tasks"):
        names = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs" / kind).iterdir()}
        assert names and all(any(fnmatch(name, pattern) for pattern in patterns) for name in names)
        assert names == {path.relative_to(shipped).as_posix() for path in (shipped / kind).iterdir()}
    assert shipped == CONFIGS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("configs/models/tinny.yaml", "did you mean 'configs/models/tiny.yaml'"),
        ("configs/strategies/esft-gate.yaml", "did you mean 'configs/strategies/esft_gate.yaml'"),
        ("mien.yaml", "did you mean 'mine.yaml'"),
        ("none.yaml", r"there is no such file \(looked in"),
        (".", "is a folder; expected a YAML file"),
        ("configs/models", "is a folder"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {}\n")
    with pytest.raises(SettingError, match=said):
        find_config(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model:\n  base: \xff\n", r"x\.yaml: byte 16 is not UTF-8"),
        (b"model: [\n", r"x\.yaml:2: not YAML"),
        (b"model:\n\tbase: tiny\n", r"x\.yaml:2: not YAML: found character"),
        (b"", "holds nothing; expected settings"),
        (b"# nothing but a remark\n", "holds nothing"),
        (b"- a\n", "holds a list"),
        (b"tiny", "holds a str"),
        (b"model: tiny\n", "model is 'tiny'; expected a mapping"),
        (b"trainer: [3]\n", r"trainer is \[3\]; expected a mapping"),
        (
            b"model:\n  dtype: auto\n  base: tiny\n  dtype: float32\n",
            r"x\.yaml:4: not YAML: 'dtype' stands there twice",
        ),
        (b"a: !!python/object:os.system {}\n", "not YAML: could not determine a constructor"),
        (b"[" * 5000, "not YAML"),
    ],
)
def test_what_is_no_configuration_is_refused_with_the_line(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(FileError, match=said):
        read_config(tmp_path / "x.yaml")


def test_a_byte_order_mark_and_json_are_fine(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b'\xef\xbb\xbf{"model": {"base": "tiny"}, "data": "LawDataModule"}')
    assert read_config(tmp_path / "x.yaml") == {"model": {"base": "tiny"}, "data": "LawDataModule"}


def test_every_way_to_give_a_file_is_seen() -> None:
    words = ["-c", "a", "--model.base", "x", "--config", "b", "--config=c", "-c=d", "-c"]
    assert list(config_values(words)) == [(1, "a"), (5, "b"), (6, "c"), (7, "d")]
    assert find_config("{model: {base: tiny}}") is None, "settings themselves"
