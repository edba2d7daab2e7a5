"""Programs that get out of the sandbox, each with the wall that holds it and with that wall taken away."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esft_lightning.scoring import sandbox
from esft_lightning.scoring.allowed_calls import NUMBERS
from esft_lightning.scoring.sandbox import Job, Limits, SandboxError, Verdict, missing_walls, run_jobs

MACHINE = os.uname().machine
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or MACHINE not in NUMBERS, reason="these walls are Linux's"
)
CALLS = "seccomp", "containment.py", "def restrict_calls() -> list[str]:"
PROCESSES = "process namespace", "containment.py", "def enter_namespaces() -> list[str]:"
FILES = "Landlock", "containment.py", "def restrict_files() -> list[str]:"
CAPABILITIES = "capabilities", "containment.py", "def drop_capabilities() -> list[str]:"


@pytest.fixture(scope="module")
def all_walls() -> None:
    """Skips where a container, say, has taken walls away already."""
    if missing := missing_walls():
        pytest.skip(f"not enforced on this system: {'; '.join(missing)}")


@pytest.fixture
def without(all_walls: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Takes walls away: a copy of the checking program in which they say what they say where a system has none."""
    whole, copies = Path(sandbox.CHECKER).parent, itertools.count()

    def take_away(*walls: tuple[str, str, str]) -> Path:
        missing_walls.cache_clear()
        sandbox._say.cache_clear()
        place = tmp_path / f"metrics_{next(copies)}"
        shutil.copytree(whole, place, ignore=shutil.ignore_patterns("__pycache__"))
        for name, file, head in walls:
            text = (place / file).read_text()
            assert text.count(head) == 1
            (place / file).write_text(text.replace(head, f"{head}\n    return ['{name}: taken away']"))
        monkeypatch.setattr(sandbox, "CHECKER", place / "isolated_checker.py")
        return place / "isolated_checker.py"

    yield take_away
    missing_walls.cache_clear()
    sandbox._say.cache_clear()


def verdict(code: str, limits: Limits | None = None) -> Verdict:
    return run_jobs([Job(code, ["assert f(2) == 4"], "f")], limits or Limits(wall_seconds=20, cpu_seconds=5))[0]


def number(x86_64: int, aarch64: int) -> int:
    return x86_64 if MACHINE == "x86_64" else aarch64


# What is tried, in Python; arguments are such that nothing is changed where no wall stands in the way
ESCAPES = {
    "clears its parent's death signal": f"libc.syscall({number(157, 167)}, 1, 0, 0, 0, 0)",
    "takes System V shared memory": f"libc.syscall({number(29, 194)}, 0, 4096, 0o1600)",
    "takes a System V semaphore": f"libc.syscall({number(64, 190)}, 0, 1, 0o1600)",
    "takes a System V queue": f"libc.syscall({number(68, 186)}, 0, 0o1600)",
    "handles page faults": f"libc.syscall({number(323, 282)}, 1)",
    "opens a tree of mounts": "libc.syscall(428, -1, b'', 0)",
    "takes memory without a file": f"libc.syscall({number(319, 279)}, b'x', 0)",
    "takes secret memory": "libc.syscall(447, -1)",
    "sets the owner of a file's signals": f"libc.syscall({number(72, 25)}, os.open(os.__file__, 0), 8, os.getpid())",
    "sets the signal of a file": f"libc.syscall({number(72, 25)}, os.open(os.__file__, 0), 10, 12)",
    "names the machine": f"libc.syscall({number(170, 161)}, None, -1)",
    "opens a file system": "libc.syscall(430, None, -1)",
    "swaps": f"libc.syscall({number(167, 224)}, b'/nowhere', 0)",
    "keeps accounts": f"libc.syscall({number(163, 89)}, b'/nowhere')",
    "types into a terminal": f"libc.syscall({number(16, 29)}, 99, 0x5412, None)",
    "reads another's limits": f"libc.syscall({number(302, 261)}, 1 << 20, 7, None, None)",
    "sets a limit": f"libc.syscall({number(302, 261)}, 0, 4, struct.pack('QQ', 0, 0), None)",
    "starts a thread": "threading.Thread(target=int).start() or 0",
    "has a pipe of its own": "0 * sum(os.pipe())",
    "takes a socket": "0 * socket.socketpair()[0].fileno()",
    "signals itself": "os.kill(os.getpid(), 0) or 0",
}
TRY = """
import ctypes, errno, os, struct, sys, threading
try: import _socket as socket, socket as whole; socket = whole
except ImportError: pass
libc = ctypes.CDLL(None, use_errno=True)
def tried(attempt):
    ctypes.set_errno(0)
    try:
        return errno.errorcode[ctypes.get_errno()] if eval(attempt) == -1 else "done"
    except OSError as error:
        return errno.errorcode[error.errno]
    except RuntimeError:
        return "no thread"
"""
REFUSED = {"EPERM", "ENOSYS", "no thread"}
PRIVILEGED = {"names the machine", "opens a file system", "swaps", "keeps accounts"}
"""Without root the kernel refuses these itself, so that nothing is shown by taking the wall away."""


def test_no_call_that_reaches_out_is_made_and_without_the_filter_they_are(tmp_path: Path) -> None:
    """All in one process that has the filter, and in one that has not."""
    folder = Path(sandbox.CHECKER).parent
    program = f"""{TRY}
sys.path.insert(0, {str(folder)!r})
import containment
if sys.argv[1] == "walled": assert containment.restrict_calls() == []
for attempt in {list(ESCAPES.values())!r}: print(tried(attempt))
"""
    outcomes = {}
    for kind in ("walled", "open"):
        command = [sys.executable, "-I", "-S", "-c", program, kind]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        outcomes[kind] = dict(zip(ESCAPES, done.stdout.split("\n"), strict=False))
        assert len(done.stdout.splitlines()) == len(ESCAPES), done.stderr
    assert set(outcomes["walled"].values()) <= REFUSED, outcomes["walled"]
    shown = {name for name, outcome in outcomes["open"].items() if outcome not in REFUSED}
    may_lack = {"handles page faults", "takes secret memory"} | (PRIVILEGED if os.geteuid() else set())
    assert shown >= ESCAPES.keys() - may_lack, outcomes["open"]


WAITS = "import ctypes, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\ntime.sleep(60)"
"""A program that asks the kernel not to end it with its parent, and stays."""


def of_program(path: Path) -> set[int]:
    """Processes that run a program."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (
                os.fsencode(path) in (entry / "cmdline").read_bytes()
                and b"State:\tZ" not in (entry / "status").read_bytes()
            ):
                found.add(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def left_after_a_kill(checker: Path, tmp_path: Path, expected: int = 8) -> set[int]:
    """Processes of the sandbox one second after whoever started it was killed in the middle of two jobs.

    There are two of each: who stays outside the namespace, server, checker and runner.
    """
    script = tmp_path / "score.py"
    script.write_text(f"""
from pathlib import Path
from esft_lightning.scoring import sandbox
sandbox.CHECKER = Path({str(checker)!r})
sandbox._run([sandbox.Job({WAITS!r}, ["assert f(2) == 4"], "f")] * 2, workers=2)
""")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    score = subprocess.Popen([sys.executable, str(script)], env=environment)
    deadline = time.monotonic() + 60
    while len(of_program(checker)) < expected and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # the programs have called prctl and sleep
    assert len(of_program(checker)) == expected and score.poll() is None
    score.send_signal(signal.SIGKILL)
    score.wait()
    time.sleep(1)
    return of_program(checker)


def test_a_kill_of_score_leaves_no_process(without, tmp_path: Path) -> None:
    assert not left_after_a_kill(without(), tmp_path)


@pytest.mark.parametrize("wall", [CALLS, PROCESSES], ids=lambda wall: wall[0])
def test_either_wall_alone_ends_what_would_outlive_score(without, tmp_path: Path, wall: tuple[str, str, str]) -> None:
    assert not left_after_a_kill(without(wall), tmp_path, 6 if wall is PROCESSES else 8)


def test_where_the_kernel_ends_nobody_with_their_parent_the_server_looks_for_it(without, tmp_path: Path) -> None:
    """As on macOS, which has none of these walls; a program that does not leave its group is ended."""
    checker = without()
    containment = checker.with_name("containment.py")
    containment.write_text(containment.read_text().replace('sys.platform.startswith("linux")', "False"))
    assert not left_after_a_kill(checker, tmp_path, 6)
    outcome = verdict("def f(x): return 2 * x")
    assert outcome.passed
    assert {wall.rpartition(":")[0] for wall in outcome.not_enforced} == {
        "network namespace", "process namespace, so that none outlives a killed parent", "file system",
        "system calls (seccomp)",
    }  # fmt: skip


def test_without_both_walls_a_program_outlives_score(without, tmp_path: Path) -> None:
    left = left_after_a_kill(without(CALLS, PROCESSES), tmp_path, 6)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert len(left) == 2, "the two programs that asked to stay"


IMPORTS = "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\n"
SHARED_MEMORY = f"""{IMPORTS}
got = libc.shmget(0, 1 << 30, 0o1600)
def f(x): return 2 * x if got != -1 else got
"""
WRITES = """
def f(x):
    with open("mark", "w") as file: return file.write("x" * 2 * x)
"""
CAPABLE = """
import ctypes
class Sets(ctypes.Structure): _fields_ = [("sets", ctypes.c_uint32 * 6)]
class Head(ctypes.Structure): _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
head, sets = Head(0x20080522, 0), Sets()
libc = ctypes.CDLL(None)
def f(x): return 2 * x if libc.capget(ctypes.byref(head), ctypes.byref(sets)) == 0 and sets.sets[0] else -1
"""


@pytest.mark.parametrize(
    ("code", "walls"),
    [(SHARED_MEMORY, [CALLS]), (WRITES, [CALLS, FILES]), (CAPABLE, [CALLS, CAPABILITIES])],
    ids=["a gigabyte of shared memory", "a file", "capabilities"],
)
def test_a_whole_program_is_held_and_is_not_without_its_walls(without, code: str, walls: list) -> None:
    assert not verdict(code).passed
    if len(walls) > 1 and walls[1] is FILES:  # either of two walls holds it
        for wall in walls:
            without(wall)
            assert "PermissionError" in verdict(code).reason
    without(*walls)
    outcome = verdict(code)
    assert outcome.passed, outcome.reason
    assert set(outcome.not_enforced) >= {f"{name}: taken away" for name, *_ in walls}


def test_what_a_job_left_is_gone_before_the_next(without) -> None:
    """Without the filter a program forks; its child is ended with the job, by the namespace."""
    checker = without(CALLS)
    code = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\ndef f(x): return 2 * x"
    jobs = [Job(code, ["assert f(2) == 4"], "f"), Job("def f(x): return 2 * x", ["assert f(2) == 4"], "f")]
    counts: list[int] = []
    limits = Limits(wall_seconds=20)
    verdicts = sandbox._run(jobs, limits, 1, lambda verdict: counts.append(len(of_program(checker))))
    assert verdicts[1].passed
    assert counts[1] <= 2 + 2, "no more than who stays behind, the server, and the last job at its end"


@pytest.mark.parametrize("refused", ["getrandom", "rt_sigaction", "openat", "newfstatat", "clock_nanosleep"])
def test_a_harmless_call_refused_is_an_error_and_no_zero(without, refused: str) -> None:
    checker = without()
    table = checker.with_name("allowed_calls.py")
    table.write_text(table.read_text().replace("NUMBERS = {", f"_REFUSED = {refused!r}\nNUMBERS = {{").replace(
        'if number != "-"}', 'if number != "-" and name != _REFUSED}'
    ))  # fmt: skip
    with pytest.raises(SandboxError, match="does not run harmless code"):
        verdict("def f(x): return 2 * x")


def test_what_is_not_enforced_is_found_out_once_and_logged(without, caplog: pytest.LogCaptureFixture) -> None:
    without(CALLS, FILES)
    for _ in range(2):
        assert verdict("def f(x): return 2 * x").passed
    assert missing_walls() == ("Landlock: taken away", "seccomp: taken away")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "generated code runs with weaker walls: not enforced here are Landlock: taken away; seccomp: taken away"
    ]


def test_a_kill_of_score_leaves_no_process_that_compares_expressions() -> None:
    """Also where it would not hear that its input has ended: another process holds the other end of the pipe."""
    script = """
import os, sys, time
from esft_lightning.scoring.math_expressions import _worker
process = _worker._start()
holder = os.fork()
if holder == 0: time.sleep(60)
print(process.pid, holder, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    score = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert score.stdout is not None
    compares, holder = map(int, score.stdout.readline().split())
    assert Path(f"/proc/{compares}").exists()
    score.kill()
    score.wait()
    time.sleep(0.5)
    status = Path(f"/proc/{compares}/status")
    left = status.exists() and "State:\tZ" not in status.read_text()
    os.kill(holder, signal.SIGKILL)
    score.stdout.close()
    assert not left
