"""Attempts to break out of the sandbox, or to pass tests that were not met."""

import os
import sys
import time
from pathlib import Path

import pytest

from esft_lightning.scoring.sandbox import Job, Limits, Verdict, run_jobs

TESTS = ("assert f(2) == 4", "assert f(3) == 6")
QUICK = Limits(wall_seconds=20, cpu_seconds=1)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these walls are Linux's")


def verdict(code: str, tests: tuple[str, ...] = TESTS, limits: Limits = QUICK) -> Verdict:
    return run_jobs([Job(code, tests, "f")], limits)[0]


def test_an_honest_function_passes_and_the_reason_of_a_failure_is_told() -> None:
    assert verdict("import math\ndef f(x): return math.floor(x) * 2") == Verdict(
        True, "passed", verdict("").not_enforced
    )
    assert "test 2: AssertionError" in verdict("def f(x): return 4").reason
    assert "ZeroDivisionError" in verdict("def f(x): return 1 / 0").reason
    assert "SyntaxError" in verdict("def f(x:").reason
    assert "no test" in verdict("def f(x): return 4", tests=()).reason


FAKES = {
    "leaves before the tests": "import sys\nsys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "leaves in the call": "import os\ndef f(x): os._exit(0)",
    "prints success": 'print(\'{"secret": true, "reason": "passed", "not_enforced": []}\')',
    "writes success to every handle": (
        "import os\n"
        'message = b\'{"secret": null, "reason": "passed", "not_enforced": []}\'\n'
        "for handle in range(64):\n"
        "    try: os.write(handle, b'%08d' % len(message) + message)\n"
        "    except OSError: pass\n"
        "def f(x): return None"
    ),
    "returns what equals everything": "class E(int):\n  def __eq__(s, o): return True\ndef f(x): return E()",
    "redefines builtins": (
        "import builtins\nbuiltins.AssertionError = ZeroDivisionError\nbuiltins.int.__doc__\n"
        "def isinstance(*a): return True\ndef f(x): return 0"
    ),
    "looks for the tests in memory": (
        "import gc, sys\n"
        "texts = [o for o in gc.get_objects()\n"
        "         if isinstance(o, (list, dict)) and 'f(3) ' + chr(61) * 2 in repr(o)[:9999]]\n"
        "frame, seen = sys._getframe(), ''\n"
        "while frame: seen += repr(frame.f_locals)[:9999]; frame = frame.f_back\n"
        "def f(x): return 2 * x if texts or 'f(3) ' + chr(61) * 2 in seen else 0"
    ),
    "overwrites the checker": (
        "import os, glob\n"
        "def f(x):\n"
        "    for path in glob.glob('/proc/*/fd/*') + glob.glob('/proc/*/mem'):\n"
        "        try: open(path, 'wb').write(b'x' * 99)\n"
        "        except OSError: pass\n"
        "    return 0"
    ),
    "replaces the standing-in functions": (
        "import sys\nfor module in list(sys.modules.values()): module.StandIn = lambda *a: 0\ndef f(x): return 0"
    ),
    "kills the checker": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef f(x): return 0",
}


@pytest.mark.parametrize("code", FAKES.values(), ids=FAKES.keys())
def test_success_cannot_be_faked(code: str) -> None:
    assert not verdict(code).passed


@pytest.mark.parametrize("code", ["while True: pass", "def f(x):\n    while True: pass"])
def test_an_endless_loop_ends_with_its_processor_time(code: str) -> None:
    start = time.monotonic()
    assert not verdict(code).passed
    assert time.monotonic() - start < 25


def parent_of(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return None


def test_sleeping_ends_with_the_wall_time_and_leaves_no_process() -> None:
    before = time.monotonic()
    outcome = verdict("import time\ntime.sleep(60)", limits=Limits(wall_seconds=1.5))
    assert outcome == Verdict(False, "no verdict within 1.5 s")
    assert time.monotonic() - before < 10
    own = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if parent_of(path) == os.getpid()]
    assert not any(b"isolated_checker" in (process / "cmdline").read_bytes() for process in own)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce RLIMIT_AS")
def test_memory_is_limited() -> None:
    assert "MemoryError" in verdict("x = bytearray(1 << 30)").reason
    assert not verdict("x = []\nwhile True: x.append(bytearray(1 << 20))").passed


def test_output_is_dropped_however_much_it_is() -> None:
    loud = "import sys\nfor _ in range(2000):\n    print('x' * 9999)\n    print('y' * 9999, file=sys.stderr)\n"
    code = f"{loud}def f(x): return 2 * x"
    assert verdict(code).passed
    assert not verdict("def f(x): return 'x' * (1 << 22)").passed


@linux
def test_no_process_can_be_started() -> None:
    bounded_bomb = (
        "import os\nstarted = 0\n"
        "for _ in range(20):\n"
        "    try: started += os.fork() >= 0\n"
        "    except OSError: pass\n"
        "def f(x): return 2 * x if started == 0 else 0"
    )
    outcome = verdict(bounded_bomb)
    assert outcome.passed or any(name.startswith("system calls") for name in outcome.not_enforced)
    for attempt in (
        "os.system('true') == 0",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['x'])",
    ):
        code = f"import os\ndef f(x):\n    try: good = {attempt}\n    except OSError: good = False\n"
        code += "    return 2 * x if not good else 0"
        assert verdict(code).passed, attempt


@linux
def test_no_file_of_the_user_is_read_or_written(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("4")
    outcome = verdict(f"text = open({str(secret)!r}).read()\ndef f(x): return 2 * x")
    assert "PermissionError" in outcome.reason or any("file system" in name for name in outcome.not_enforced)
    outcome = verdict(f"open({str(tmp_path / 'new')!r}, 'w')\ndef f(x): return 2 * x")
    assert "PermissionError" in outcome.reason or any("file system" in name for name in outcome.not_enforced)


def test_the_disk_cannot_be_filled() -> None:
    filler = (
        "written = 0\n"
        "try:\n"
        "    with open('big', 'wb') as file:\n"
        "        while written < 1 << 30: written += file.write(b'x' * (1 << 20))\n"
        "except OSError: pass\n"
        "def f(x): return 2 * x if written < 1 << 28 else 0"
    )
    assert verdict(filler).passed


@linux
def test_no_network() -> None:
    code = "import socket\ndef f(x):\n    try: socket.socket()\n    except OSError: return 2 * x\n"
    outcome = verdict(code)
    assert outcome.passed or {name.split(":")[0] for name in outcome.not_enforced} >= {"system calls"}


def test_the_environment_is_empty_and_the_folder_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hidden")
    code = (
        "import os\ngood = not os.environ and 'generated-code-' in os.getcwd()\ndef f(x): return 2 * x if good else 0"
    )
    assert verdict(code).passed


def test_values_of_every_plain_kind_pass_between_code_and_tests() -> None:
    values = "[1, -2.5, float('inf'), 'ä', None, True, (1, (2,)), {1: [2], (1, 2): 'x'}, {3}, frozenset({4}), b'\\x00',"
    values += " 1j, 10**50]"
    tests = (f"assert f({values}) == {values}", f"assert type(f({values})[6]) is tuple", "assert f(x=1) == 1")
    assert verdict("def f(x): return x", tests).passed
    assert "cannot pass as a value, stayed with the code: object" in verdict("def f(x): return object()").reason


def test_exceptions_of_the_function_reach_the_tests() -> None:
    tests = ("try:\n    f(0)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",)
    assert verdict("def f(x): raise ValueError('no')", tests).passed
    assert not verdict("def f(x): raise KeyError('no')", tests).passed


def test_a_hundred_jobs_keep_their_order() -> None:
    codes = [f"def f(x): return x * {2 if number % 3 else 3}" for number in range(100)]
    codes[50] = "import os\nos._exit(1)"  # one that ends its process does not disturb its neighbours
    seen: list[Verdict] = []
    verdicts = run_jobs([Job(code, TESTS, "f") for code in codes], on_done=seen.append)
    assert [v.passed for v in verdicts] == [number % 3 != 0 and number != 50 for number in range(100)]
    assert seen == verdicts


def test_no_job_is_no_work() -> None:
    assert run_jobs([]) == []
