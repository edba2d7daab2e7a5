"""A file or folder appears whole or not at all, with the permissions of any other; and nothing is written otherwise."""

import ast
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import esft_lightning
from esft_lightning.adapters import write_adapter
from esft_lightning.affinity import ExpertSelection
from esft_lightning.storage import atomic_write, whole_file, whole_files, whole_folder
from esft_lightning.training.checkpoint_io import DirectCheckpointIO


def test_it_appears_at_the_end_and_only_then(tmp_path):
    with whole_folder(tmp_path / "deep" / "new") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]
    assert (tmp_path / "deep" / "new" / "file").read_text() == "x"


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").write_text("x")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "kept", replace=True) as folder:
        (folder / "half").write_text("y")
        raise RuntimeError("stopped")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["old"]


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").write_text("x")
    with pytest.raises(FileExistsError, match="name another output"), whole_folder(tmp_path / "kept"):
        pass
    with whole_folder(tmp_path / "kept", replace=True) as folder:
        (folder / "new").write_text("y")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new"]


def test_files_go_into_a_folder_whole_and_leave_the_others(tmp_path):
    atomic_write(tmp_path / "kept" / "old", b"old")
    atomic_write(tmp_path / "kept" / "one", b"1")
    with pytest.raises(RuntimeError), whole_files(tmp_path / "kept") as folder:
        (folder / "one").write_text("half")
        raise RuntimeError("stopped")
    with whole_files(tmp_path / "kept") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "two").write_text("2")
        assert not (tmp_path / "kept" / "deep").exists()
    content = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert content == {"kept/old": "old", "kept/one": "1", "kept/deep/two": "2"}


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_everything_has_the_permissions_of_any_new_file(tmp_path, umask):
    tensors = {"w": torch.ones(2)}
    with whole_file(tmp_path / "one.safetensors") as temporary:
        save_file(tensors, temporary)
        assert temporary.stat().st_mode & 0o777 == 0o600, "which this writer does not give"
    with whole_folder(tmp_path / "folder") as folder:
        (folder / "deep").mkdir()
        save_file(tensors, folder / "deep" / "two.safetensors")
    with whole_files(tmp_path / "files") as folder:
        save_file(tensors, folder / "three.safetensors")
    write_adapter(tmp_path / "adapter", tensors, {"base": "x"}, ExpertSelection({1: [0]}, 4))
    DirectCheckpointIO().save_checkpoint({"state_dict": tensors}, tmp_path / "checkpoints" / "last.ckpt")
    atomic_write(tmp_path / "cache" / "entry", b"")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 8
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()} == {0o777 & ~umask}


def test_a_program_stays_a_program(tmp_path, umask):
    with whole_folder(tmp_path / "folder") as folder:
        (folder / "script").touch()
        (folder / "script").chmod(0o700)
    assert (tmp_path / "folder" / "script").stat().st_mode & 0o777 == 0o700 | 0o666 & ~umask


WRITERS = {"write_text", "write_bytes", "save_file", "save_pretrained", "savez", "savez_compressed", "copy", "copy2"}
WRITERS |= {"copyfile", "copytree", "move", "mkstemp", "NamedTemporaryFile"}
WHOLE = {"whole_file", "whole_folder", "whole_files"}
ELSEWHERE = {
    ("adapters/formats/sharded_writer.py", "close"): "into a folder of whole_folder",
    ("adapters/formats/sharded_writer.py", "_write"): "into a folder of whole_folder",
    ("adapters/formats/merge.py", "_copy_settings"): "into a folder of whole_folder",
}


def writes(call: ast.Call) -> bool:
    """Whether a call writes a file; adding to a log is no writing anew."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    given = [argument.value for argument in [*call.args, *(k.value for k in call.keywords)] if isinstance(argument, ast.Constant)]  # fmt: skip # noqa: E501
    if name == "open":
        return any(isinstance(mode, str) and set(mode) <= set("wxb+t") and set(mode) & set("wx") for mode in given)
    if name in ("copy", "copy2", "move", "copytree"):
        return owner == "shutil"
    return name in WRITERS or (owner, name) in {("torch", "save"), ("np", "save"), ("json", "dump"), ("yaml", "dump")}


def written_otherwise(node: ast.AST, function: str = "", whole: bool = False):
    """The functions in which something is written outside of a block of `storage`."""
    if isinstance(node, ast.FunctionDef):
        function = node.name
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        whole = whole or any(isinstance(call.func, ast.Name) and call.func.id in WHOLE for call in calls)
    if isinstance(node, ast.Call) and writes(node) and not whole:
        yield function
    for child in ast.iter_child_nodes(node):
        yield from written_otherwise(child, function, whole)


def test_nothing_is_written_in_another_way():
    root = Path(esft_lightning.__file__).parent
    places = {
        (str(path.relative_to(root)), function)
        for path in root.rglob("*.py")
        for function in written_otherwise(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert places == set(ELSEWHERE)
