"""A program that does what generated functions may well do, and tests of it: where it fails, the walls are at fault."""

HARMLESS_CODE = """
import bisect, calendar, collections, copy, dataclasses, datetime, decimal, enum, fractions, functools, hashlib, heapq
import io, itertools, json, locale, math, operator, os, random, re, secrets, shutil, signal, statistics, string, sys
import textwrap, threading, time, types, typing, unicodedata, uuid


def time_passes():
    start = time.monotonic(), time.time(), time.process_time(), os.times()
    time.sleep(0.001)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 60), signal.setitimer(signal.ITIMER_REAL, 0)
    return time.monotonic() > start[0] and datetime.datetime.now().year > 2000


def memory_grows():
    blocks = [bytearray(1 << 20) for _ in range(32)]
    blocks[0] *= 8
    return sum(map(len, blocks)) == 39 << 20


def files_are_read():
    with open(json.__file__, encoding="utf-8") as file:
        text = file.read()
    copied = os.dup(os.open(os.path.dirname(json.__file__), os.O_RDONLY))
    entries = os.listdir(copied)
    os.close(copied)
    return "def dumps" in text and "decoder.py" in entries and os.path.exists(os.__file__) and os.stat(json.__file__)


def asked_about_itself():
    return os.getpid() >= 0 and os.cpu_count() and shutil.get_terminal_size() and os.uname() and os.getcwd()


def chance_is_there():
    random.seed()
    return len({random.random(), secrets.randbits(64), uuid.uuid4().int, int.from_bytes(os.urandom(8), "big")}) == 4


def locks_work():
    event, lock = threading.Event(), threading.Lock()
    with lock:
        return not event.wait(0.001) and hashlib.sha256(b"").hexdigest().startswith("e3b0")


def prints():
    print("a line")
    print("a line", file=sys.stderr, flush=True)
    return not sys.stdout.isatty()


def recursion_ends():
    def deeper(): return deeper()
    try:
        deeper()
    except RecursionError:
        return True


def harmless(x):
    checks = time_passes, memory_grows, files_are_read, asked_about_itself, chance_is_there, locks_work, prints
    for check in (*checks, recursion_ends):
        assert check(), check.__name__
    return 2 * x
"""
HARMLESS_TESTS = ("assert harmless(2) == 4", "import math, random, datetime\nassert harmless(math.floor(3.5)) == 6")
