"""Walls around the calling process: what it may use, see and do. For Linux; elsewhere only the limits hold.

Loaded by `isolated_checker.py` from its path, in an interpreter that has neither this package nor site-packages:
standard library only, and little of it, for a quick start. Each wall stands by itself and none can be
taken down again; a wall that the system does not allow is named in the returned list, never passed over in silence.
"""

import ctypes
import os
import resource
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
NEW_USER_NETWORK_PIDS_IPC = 0x10000000 | 0x40000000 | 0x20000000 | 0x08000000
SIGKILL = 9

# System calls that no function under test needs: processes and programs, sockets, signals, limits, mounts, keys,
# attributes of files. First the number by which the kernel names the architecture.
DENIED_CALLS = {
    "x86_64": (
        0xC000003E,
        "41 42 53 56 57 58 59 62 90 91 92 93 94 101 109 112 129 132 160 165 188 189 190 200 234 235 248 249 250 260 "
        "261 268 272 280 297 298 302 308 310 311 319 321 322 424 425 434 435 438 452",
    ),
    "aarch64": (
        0xC00000B7,
        "5 6 7 40 52 53 54 55 88 97 117 129 130 131 138 154 157 164 198 199 203 217 218 219 220 221 240 241 261 268 "
        "270 271 279 280 281 424 425 434 435 438 452",
    ),
}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights the kernel's version knows; 16 from version 5


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failure(wall: str) -> list[str]:
    return [f"{wall}: {os.strerror(ctypes.get_errno())}"]


def enter_namespaces() -> list[str]:
    """Leave the machine's network and process ids: children made from now on see no network and no other process."""
    if not sys.platform.startswith("linux"):
        return ["network namespace: not Linux"]
    return [] if _libc().unshare(NEW_USER_NETWORK_PIDS_IPC) == 0 else _failure("network namespace")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, and hide its memory from processes of the same user."""
    if sys.platform.startswith("linux"):
        libc = _libc()
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_resources(limits: dict) -> list[str]:
    """Set the hard resource limits: `cpu_seconds`, `memory_bytes`, `file_bytes`, `open_files`, no further process."""
    failed = []
    for name, value in (
        ("RLIMIT_CPU", limits["cpu_seconds"]),
        ("RLIMIT_AS", limits["memory_bytes"]),
        ("RLIMIT_FSIZE", limits["file_bytes"]),
        ("RLIMIT_NOFILE", limits["open_files"]),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_CORE", 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (ValueError, OSError, AttributeError) as error:
            failed.append(f"{name}: {error}")
    return failed


def restrict_files() -> list[str]:
    """Allow reading the standard library and the system's libraries, nothing else of the file system (Landlock)."""
    if not sys.platform.startswith("linux"):
        return ["file system: not Linux"]
    libc = _libc()
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return _failure("file system (Landlock)")
    rights = (1 << LANDLOCK_RIGHTS.get(version, 16)) - 1
    ruleset = libc.syscall(LANDLOCK_CREATE, struct.pack("Q", rights), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return _failure("file system (Landlock)")
    library = os.__file__.rpartition("/")[0]
    for folder in {library, f"{sys.base_prefix}/lib", "/lib", "/lib64", "/usr/lib", "/usr/lib64"}:
        try:
            handle = os.open(folder, getattr(os, "O_PATH", os.O_RDONLY))
        except OSError:
            continue  # a folder that this system does not have needs no permission
        libc.syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", LANDLOCK_READ & rights, handle), 0)
        os.close(handle)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted = libc.syscall(LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)
    return [] if restricted == 0 else _failure("file system (Landlock)")


def restrict_calls() -> list[str]:
    """Refuse (EPERM) the calls of `DENIED_CALLS`: no process, program, socket or signal from here on (seccomp)."""
    if not sys.platform.startswith("linux") or os.uname().machine not in DENIED_CALLS:
        return [f"system calls: no table for {sys.platform} {os.uname().machine}"]
    architecture, numbers = DENIED_CALLS[os.uname().machine]
    denied = [int(number) for number in numbers.split()]

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    load, equal, at_least, leave = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    program = [
        instruction(load, 4),
        instruction(equal, architecture, 1, 0),
        instruction(leave, kill),
        instruction(load, 0),
        instruction(at_least, 0x40000000, len(denied) + 1, 0),  # the x32 numbering: refused as a whole
        *(instruction(equal, number, len(denied) - place, 0) for place, number in enumerate(denied)),
        instruction(leave, allow),
        instruction(leave, refuse),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = _libc()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return [] if libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0) == 0 else _failure("system calls (seccomp)")


def contain(limits: dict) -> list[str]:
    """Put up every wall around the calling process; returns what this system did not enforce."""
    return [*limit_resources(limits), *restrict_files(), *restrict_calls()]
