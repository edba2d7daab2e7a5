"""The system calls that a function under test needs, as a filter for seccomp: what is not listed is refused.

Loaded by `containment.py` from its path, standard library only. The list runs CPython with its standard library, and
numpy: memory, reading files, clocks, waiting, and what a process may ask about itself. No process, program, thread,
socket, signal to others, shared memory, limit, mount or name of the machine.
"""

import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's own numbers of the architectures that have a column below."""
# name, number on x86_64, number on aarch64 (`-`: that architecture never had it, its C libraries use another)
_TABLE = """
read 0 63            readv 19 65          pread64 17 67        write 1 64            writev 20 66
lseek 8 62           open 2 -             openat 257 56        close 3 57            fstat 5 80
stat 4 -             lstat 6 -            newfstatat 262 79    statx 332 291         access 21 -
faccessat 269 48     faccessat2 439 439   readlink 89 -        readlinkat 267 78     getcwd 79 17
getdents64 217 61    dup 32 23            dup2 33 -            dup3 292 24           fcntl 72 25
ioctl 16 29          poll 7 -             ppoll 271 73         select 23 -           pselect6 270 72
mmap 9 222           mprotect 10 226      munmap 11 215        mremap 25 216         madvise 28 233
brk 12 214           rt_sigaction 13 134  rt_sigprocmask 14 135 rt_sigreturn 15 139  sigaltstack 131 132
restart_syscall 219 128  alarm 37 -       getitimer 36 102     setitimer 38 103      futex 202 98
set_robust_list 273 99   rseq 334 293     sched_yield 24 124   sched_getaffinity 204 123  nanosleep 35 101
clock_nanosleep 230 115  clock_gettime 228 113  clock_getres 229 114  gettimeofday 96 169  time 201 -
times 100 153        getrusage 98 165     getrlimit 97 163     prlimit64 302 261     sysinfo 99 179
uname 63 160         getpid 39 172        getppid 110 173      gettid 186 178        getuid 102 174
geteuid 107 175      getgid 104 176       getegid 108 177      getrandom 318 278     exit 60 93
exit_group 231 94
"""
_WORDS = _TABLE.split()
NUMBERS = {
    machine: {name: int(number) for name, number in zip(_WORDS[::3], _WORDS[column::3], strict=True) if number != "-"}
    for column, machine in enumerate(ARCHITECTURES, 1)
}
"""Machine → name of an allowed call → its number."""

# Conditions on arguments: (place of a 32-bit word among the arguments, `among` or `without`, values)
_WRITING = 0o3 | 0o100 | 0o1000  # any mode but reading, O_CREAT, O_TRUNC
RULES = {
    "open": [(2, "without", [_WRITING])],
    "openat": [(4, "without", [_WRITING])],
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC: no owner, signal, lease or lock
    "fcntl": [(2, "among", [0, 1, 2, 3, 4, 1030])],
    # TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: nothing is typed into a terminal
    "ioctl": [(2, "among", [0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451])],
    # of this process, and without new limits: both words of the pointer are null
    "prlimit64": [(0, "among", [0]), (4, "among", [0]), (5, "among", [0])],
}
FIRST_COMMON_NUMBER = 424
"""From here on numbers are the same everywhere, and C libraries take ENOSYS as a word to use an older call."""
ALLOW, REFUSE, UNKNOWN, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
"""What a filter answers: go on, EPERM, ENOSYS, end of the process."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _LEAVE = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in what the kernel shows a filter


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _conditions(name: str) -> list:
    """Instructions that leave with REFUSE where an argument is not as it must be, and then with ALLOW."""
    lines = []
    for word, kind, values in RULES.get(name, []):
        lines.append(_instruction(_LOAD, _ARGUMENTS + 4 * word))
        if kind == "among":
            lines += [_instruction(_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)]
        else:
            lines.append(_instruction(_ANY_BIT, values[0], 0, 1))
        lines.append(_instruction(_LEAVE, REFUSE))
    return [*lines, _instruction(_LEAVE, ALLOW)]


def filter_program(machine: str) -> bytes:
    """The filter as instructions of eight bytes, for a machine of `ARCHITECTURES`; it knows the other's calls as none.

    Args:
        machine: As `os.uname().machine` says it.
    """
    lines = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, ARCHITECTURES[machine], 1, 0),
        _instruction(_LEAVE, KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    for name, number in NUMBERS[machine].items():
        block = _conditions(name)
        lines += [_instruction(_EQUAL, number, 0, len(block)), *block]
    lines += [_instruction(_AT_LEAST, FIRST_COMMON_NUMBER, 0, 1), _instruction(_LEAVE, UNKNOWN)]
    return b"".join([*lines, _instruction(_LEAVE, REFUSE)])
