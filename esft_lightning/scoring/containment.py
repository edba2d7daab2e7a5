"""Walls around the calling process: what it may use, see and do. For Linux; elsewhere only the limits hold.

Loaded by `isolated_checker.py` from its path, in an interpreter that has neither this package nor site-packages:
standard library only, and little of it, for a quick start. Each wall stands by itself and none can be
taken down again; a wall that the system does not allow is named in the returned list, never passed over in silence.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import struct
import sys

from allowed_calls import ARCHITECTURES, filter_program  # type: ignore[import-not-found]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = 0x08000000, 0x10000000, 0x20000000, 0x40000000
SIGKILL = 9
WATCH_SECONDS = 0.3
CAPABILITY_VERSION = 0x20080522

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
LANDLOCK_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights the kernel's version knows; 16 from version 5


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failure(wall: str) -> list[str]:
    return [f"{wall}: {os.strerror(ctypes.get_errno())}"]


def enter_namespaces() -> list[str]:
    """Go on as the first process of a namespace: the kernel ends all in it, whatever they did, when this one ends.

    There is no network in it. The calling process stays behind, without its files; either ends when the other does.
    """
    if not sys.platform.startswith("linux"):
        return ["network namespace: not Linux", "process namespace, so that none outlives a killed parent: not Linux"]
    if _libc().unshare(NEW_USER | NEW_PIDS | NEW_NETWORK) != 0:
        return [*_failure("network namespace"), *_failure("process namespace")]
    alive, held = os.pipe()
    first = os.fork()
    if first != 0:
        os.dup2(held, 0)
        os.closerange(1, max(held, alive, 64) + 1)
        os.waitpid(first, 0)
        os._exit(1)
    os.close(held)
    die_with(0)
    if select.select([alive], [], [], 0)[0]:  # the caller ended before it was asked to take this process along
        os._exit(1)
    os.close(alive)
    return []


def watch(parent: int) -> None:
    """End this process's group when its parent has ended, for systems whose kernel does not do it.

    Args:
        parent: The parent's process id.
    """

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os.killpg(0, SIGKILL)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, WATCH_SECONDS, WATCH_SECONDS)  # children inherit no timer


def end_other_processes(namespace: bool) -> None:
    """End what a job may have left, and forget it.

    Args:
        namespace: Whether the calling process is the first of its own namespace; else there is nothing it may end.
    """
    if namespace:
        with contextlib.suppress(ProcessLookupError):  # nothing was left
            os.kill(-1, SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def hide_other_processes() -> list[str]:
    """Give children made from now on process ids and shared memory of their own; after `enter_namespaces`."""
    return [] if _libc().unshare(NEW_PIDS | NEW_IPC) == 0 else _failure("process namespace of a job")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, and hide its memory from processes of the same user.

    Args:
        parent: The parent's process id; where that one has ended already, this one does too.
    """
    if sys.platform.startswith("linux"):
        libc = _libc()
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() not in (0, parent):  # 0: it lives outside this process's namespace, whose end is the kernel's work
        os._exit(1)


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


def drop_capabilities() -> list[str]:
    """Give up what root may do, and what the owner of a namespace may do in it."""
    if not sys.platform.startswith("linux"):
        return []  # there are none
    header, nothing = struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24)
    return [] if _libc().capset(header, nothing) == 0 else _failure("capabilities")


def restrict_calls() -> list[str]:
    """Refuse every system call that `allowed_calls.py` does not list, from here on (seccomp)."""
    if not sys.platform.startswith("linux") or os.uname().machine not in ARCHITECTURES:
        return [f"system calls (seccomp): no table for {sys.platform} {os.uname().machine}"]
    program = filter_program(os.uname().machine)
    code = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = _libc()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return [] if libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0) == 0 else _failure("system calls (seccomp)")


def contain(limits: dict) -> list[str]:
    """Put up every wall around the calling process; returns what this system did not enforce."""
    return [*limit_resources(limits), *drop_capabilities(), *restrict_files(), *restrict_calls()]
