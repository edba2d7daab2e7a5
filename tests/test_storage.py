"""A file or folder appears whole or not at all, with the permissions of any other; and nothing is written otherwise."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import ROOT
from safetensors.torch import save_file

import esft_lightning
from esft_lightning import storage
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


def dead_process() -> int:
    """The number of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def left_by(process: int, target: Path, kind: str = "tmp", host: str | None = None) -> Path:
    return target.with_name(f".{target.name}.{host or storage._host()}-{process}.0123abcd.{kind}")


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    target, folder = tmp_path / "last[1].ckpt", tmp_path / "adapter"
    dead, living = dead_process(), os.getppid()
    gone = [left_by(dead, target), left_by(dead, folder), left_by(dead, folder, "old")]
    kept = [
        left_by(living, target), left_by(dead, target, host="0" * 8), left_by(dead, tmp_path / "other.ckpt"),
        tmp_path / ".last[1].ckpt.mine.tmp",
    ]  # fmt: skip
    for path in (gone[0], *kept):
        path.write_text("half")
    for path in gone[1:]:
        path.mkdir()
        (path / "file").write_text("half")
    atomic_write(target, b"whole")
    with whole_folder(folder) as temporary:
        (temporary / "file").write_text("whole")
    assert not [path for path in gone if path.exists()] and all(path.exists() for path in kept)


_REPLACE = """
import sys
from pathlib import Path
from esft_lightning.storage import whole_folder
folder = Path(sys.argv[1])
for number in range(2000):
    with whole_folder(folder, replace=True) as temporary:
        (temporary / "a").write_text(str(number))
        (temporary / "b").write_text(str(number))
    if number == 0:
        print("begun", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="exchanges names in one step on Linux alone")
def test_a_folder_that_is_replaced_is_there_at_any_moment_also_when_its_writer_is_killed(tmp_path):
    folder = tmp_path / "adapter"
    writer = subprocess.Popen(
        [sys.executable, "-c", _REPLACE, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None and writer.stdout.readline() == b"begun\n"
    for _ in range(3000):
        assert folder.is_dir(), "it was gone for a moment"
    writer.kill()
    writer.wait()
    assert (folder / "a").read_text() == (folder / "b").read_text()
    with whole_folder(folder, replace=True) as temporary:
        (temporary / "a").write_text("after")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"], "and nothing is left beside it"


_FULL = """
import resource, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from esft_lightning.errors import explanation
from esft_lightning.storage import atomic_write, whole_file, whole_folder
from esft_lightning.training.checkpoint_io import DirectCheckpointIO
from esft_lightning.adapters import write_adapter

root, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
tensors = {"weight": torch.zeros(500_000)}

def files(path):
    with whole_folder(path, replace=True) as temporary:
        (temporary / "large").write_bytes(bytes(2_000_000))

writers = {
    "bytes": lambda path: atomic_write(path, bytes(2_000_000)),
    "checkpoint": lambda path: DirectCheckpointIO().save_checkpoint({"state_dict": tensors}, path),
    "folder": files,
    "adapter": lambda path: write_adapter(path, tensors, {"base": "x"}, None),
}
for name, write in writers.items():
    path = root / name
    if name in ("folder", "adapter"):
        path.mkdir()
        (path / "old").write_text("old")
    else:
        path.write_text("old")
    try:
        write(path)
    except Exception as error:
        said = explanation(error)
        assert said is not None and said.startswith(f"{path} could not be written: "), (name, type(error), said)
        assert ("a file may not be so large" if limit else "the disk is full") in said, said
    else:
        raise AssertionError(f"{name} was written")
    assert (path / "old" if path.is_dir() else path).read_text() == "old"
names = sorted(path.name for path in root.iterdir())
assert names == ["adapter", "bytes", "checkpoint", "folder"], names
"""


def check_full(folder: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(folder), str(limit)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of processes")
def test_no_room_for_a_file_is_a_sentence_and_leaves_what_was_there(tmp_path):
    check_full(tmp_path, 100_000)


def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        check_full(disk, 0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
