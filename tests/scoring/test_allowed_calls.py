"""The filter of system calls, run as the kernel runs it, for both architectures; and CPython with numpy under it."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT

from esft_lightning.scoring.allowed_calls import ALLOW, ARCHITECTURES, KILL, NUMBERS, REFUSE, UNKNOWN, filter_program

MACHINES = pytest.mark.parametrize("machine", ARCHITECTURES)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
FORBIDDEN = {  # name: number on x86_64, on aarch64
    "prctl": (157, 167), "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186),
    "userfaultfd": (323, 282), "open_tree": (428, 428), "fsopen": (430, 430), "move_mount": (429, 429),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "sethostname": (170, 161), "swapon": (167, 224),
    "acct": (163, 89), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221), "socket": (41, 198),
    "kill": (62, 129), "tgkill": (234, 131), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "setsid": (112, 157), "setrlimit": (160, 164), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241), "keyctl": (250, 219),
    "unlinkat": (263, 35), "mkdirat": (258, 34), "openat2": (437, 437), "pidfd_open": (434, 434),
    "pipe2": (293, 59), "eventfd2": (290, 19), "inotify_init1": (294, 26), "mq_open": (240, 180),
}  # fmt: skip


def answer(machine: str, number: int, arguments: tuple[int, ...] = (), architecture: int | None = None) -> int:
    """What a filter says of a call: its program in the kernel's own small language, carried out one by one."""
    call = struct.pack("=iI", number, architecture or ARCHITECTURES[machine]) + struct.pack("=Q", 0x1234)
    call += struct.pack("=6Q", *(argument % 2**64 for argument in (*arguments, *[0] * 6)[:6]))
    lines, place, held = list(struct.iter_unpack("=HBBI", filter_program(machine))), 0, 0
    while True:
        code, if_true, if_false, value = lines[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            held = struct.unpack_from("=I", call, value)[0]
        else:
            true = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
            place += if_true if true else if_false


@MACHINES
def test_what_is_listed_goes_on_and_all_else_of_a_thousand_numbers_does_not(machine: str) -> None:
    listed = set(NUMBERS[machine].values())
    ruled = {NUMBERS[machine][name] for name in ("fcntl", "ioctl")}  # command 0 decides
    verdicts = {number: answer(machine, number) for number in range(1000)}
    assert {number for number, said in verdicts.items() if said == ALLOW} == listed - {NUMBERS[machine]["ioctl"]}
    assert 50 < len(listed) < 80 and ruled <= listed
    # a C library takes ENOSYS of a new call as a word to use the older one
    assert {said for number, said in verdicts.items() if number < 424} == {ALLOW, REFUSE}
    assert {said for number, said in verdicts.items() if number >= 424 and number not in listed} == {UNKNOWN}


@MACHINES
@pytest.mark.parametrize("name", FORBIDDEN)
def test_no_way_out_is_listed(machine: str, name: str) -> None:
    number = FORBIDDEN[name][list(ARCHITECTURES).index(machine)]
    assert name not in NUMBERS[machine]
    assert answer(machine, number) in (REFUSE, UNKNOWN)
    assert answer(machine, 0x40000000 | number) in (REFUSE, UNKNOWN), "nor by the x32 numbering"


@MACHINES
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip(f"no {HEADERS[machine]}")
    text = HEADERS[machine].read_text()
    kernel = {name: int(number) for name, number in re.findall(r"__NR(?:3264)?_(\w+)\s+(\d+)", text)}
    if machine == "aarch64":
        kernel["newfstatat"] = kernel["fstatat"]
    forbidden = {name: numbers[list(ARCHITECTURES).index(machine)] for name, numbers in FORBIDDEN.items()}
    for name, number in {**NUMBERS[machine], **forbidden}.items():
        assert number == kernel.get(name, number), name
    assert len(kernel.keys() & (NUMBERS[machine].keys() | forbidden.keys())) > 85


@MACHINES
def test_another_architecture_is_the_end(machine: str) -> None:
    for foreign in {*ARCHITECTURES.values(), 0x40000003} - {ARCHITECTURES[machine]}:
        assert answer(machine, NUMBERS[machine]["read"], architecture=foreign) == KILL


@MACHINES
def test_arguments_decide_where_a_call_can_do_more(machine: str) -> None:
    calls = NUMBERS[machine]
    setown, setsig, setlease, setpipe, notify = 8, 10, 1024, 1031, 1026
    for command in (setown, setsig, setlease, setpipe, notify, 6, 15):
        assert answer(machine, calls["fcntl"], (3, command, 1)) == REFUSE
    for command in (0, 1, 2, 3, 4, 1030, 2**32 + 1):  # the kernel reads 32 bits
        assert answer(machine, calls["fcntl"], (3, command, 1)) == ALLOW
    for request, said in ((0x5401, ALLOW), (0x5412, REFUSE), (0x541C, REFUSE), (2**32 + 0x5412, REFUSE)):
        assert answer(machine, calls["ioctl"], (0, request)) == said
    assert answer(machine, calls["prlimit64"], (0, 7, 0, 0x7FFF0000)) == ALLOW
    for pid, limits in ((1, 0), (-1, 0), (0, 1), (0, 0x7FFF00000000)):
        assert answer(machine, calls["prlimit64"], (pid, 7, limits)) == REFUSE
    for flags, said in ((0, ALLOW), (0o2000000, ALLOW), (1, REFUSE), (2, REFUSE), (0o100, REFUSE), (0o1000, REFUSE)):
        assert answer(machine, calls["openat"], (-100, 0x7FFF, flags)) == said


@settings(max_examples=200)
@given(st.sampled_from([*ARCHITECTURES]), st.integers(0, 2**32 - 1), st.tuples(*[st.integers(0, 2**64 - 1)] * 4))
def test_no_argument_makes_an_unlisted_call_go_on(machine: str, number: int, arguments: tuple[int, ...]) -> None:
    if number not in NUMBERS[machine].values():
        assert answer(machine, number - 2**32 if number >= 2**31 else number, arguments) != ALLOW


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
def test_numpy_runs_under_the_filter() -> None:
    program = f"""
import sys; sys.path.insert(0, {str(ROOT / "esft_lightning" / "scoring")!r})
import containment; del sys.path[0]
for name in ("math",): sys.modules.pop(name, None)
assert containment.restrict_calls() == []
import numpy as np
square = np.random.default_rng(0).normal(size=(60, 60))
u, s, v = np.linalg.svd(square)
assert np.allclose(u @ np.diag(s) @ v, square) and np.isfinite(np.fft.fft(square)).all()
print(np.array([3.5]).astype(int).tolist())
"""
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout == "[3]\n", done.stderr
