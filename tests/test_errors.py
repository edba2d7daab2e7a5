"""What is said of an error that a user can mend, and which errors keep their traceback."""

import errno
import subprocess
import sys

import pytest

from esft_lightning import __main__ as entry
from esft_lightning.adapters import AdapterError
from esft_lightning.data import DataError
from esft_lightning.errors import FileError, SettingError, UserError, explanation


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("one\n  sentence"), "one sentence"),
        (SettingError("top_p must be above 0"), "top_p must be above 0"),
        (DataError("rows.jsonl:3: bad"), "rows.jsonl:3: bad"),
        (AdapterError("no adapter"), "no adapter"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.json"), "a.json: No such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device", "out.ckpt"), "out.ckpt: No space left on device"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs"), "runs is a folder; expected a file"),
        (OSError("first line\nsecond line"), "first line second line"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error: BaseException, line: str) -> None:
    assert explanation(error) == line


@pytest.mark.parametrize(
    "fault", [ValueError("x"), KeyError("x"), RuntimeError("x"), TypeError("x"), ChildProcessError()]
)
def test_faults_of_the_program_are_not_explained_away(fault: BaseException) -> None:
    assert explanation(fault) is None


def test_settings_and_files_are_value_errors_for_callers_from_python() -> None:
    assert issubclass(SettingError, ValueError) and issubclass(FileError, ValueError)


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError])
def test_a_fault_inside_a_verb_keeps_its_traceback(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: object, **options: object) -> None:
        raise kind("a fault")

    monkeypatch.setattr("esft_lightning.commands.select._read", breaks)
    with pytest.raises(kind, match="a fault"):
        entry.main(["select", "--profile", "x", "--score", "gate", "--top-p", "0.1"])


def test_the_command_prints_one_line_on_standard_error_and_exits_with_2() -> None:
    command = [sys.executable, "-m", "esft_lightning", "select", "--profile", "none", "--score", "gate", "--top-k", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "none" in done.stderr
