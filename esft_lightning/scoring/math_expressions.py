"""Whether two expressions are equal, by math-verify's parser and sympy, in a process of its own with a time limit.

sympy can run for hours on a short text (`9^{9^{9}}`), inside C code that no signal interrupts. The process that parses
and compares is killed when its time is over, and what it has not decided counts as different, which the log says.
"""

import atexit
import json
import logging
import math
import os
import re
import select
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

__all__ = ["SECONDS", "same_expression"]

SECONDS = 3.0
"""How long one comparison may take."""
STARTING_SECONDS = 60.0
"""How long the process may take to start: it imports sympy."""
LONGEST = 500
DEEPEST = 40

log = logging.getLogger(__name__)
_WORKER = Path(__file__).with_name("expression_worker.py")
_HUGE = re.compile(r"\^\s*\{?\s*-?\d{6}|\d\s*\^\s*\{?\s*\d+\s*\^\s*\{?\s*\d+\s*\^|\d{6}\s*!|!\s*!\s*!")
"""Numbers that no answer is worth computing: six digits of exponent, towers of powers, factorials of six digits."""
_COMMANDS = re.compile(r"\\[A-Za-z]+")


@lru_cache(maxsize=1 << 14)
def same_expression(left: str, right: str) -> bool:
    """Tell whether two expressions or equations are the same, for every value of their letters.

    Args:
        left: An expression in the notation of `math_notation.plain`.
        right: Another one.

    Returns:
        True when they are; False when they are not, cannot be read whole, or cannot be compared in time.
    """
    texts = left, right
    if any(len(text) > LONGEST or _depth(text) > DEEPEST or _HUGE.search(text) for text in texts):
        return False
    # The parser takes capitals for small letters
    letters = [set(re.findall(r"[A-Za-z]", _COMMANDS.sub(" ", text))) for text in texts]
    both = letters[0] | letters[1]
    if any(letter.swapcase() in both for letter in both):
        return False
    return _worker.ask(left, right)


def _depth(text: str) -> int:
    """How deep brackets stand in one another."""
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest


class _Worker:
    """The comparing process, started when first needed, and again after a kill or in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, left: str, right: str) -> bool:
        with self._lock:
            process = self._process if self._owner == os.getpid() else None
            if process is None or process.poll() is not None:
                process = self._start()
            answer = b""
            try:
                process.stdin.write(json.dumps([left, right]).encode() + b"\n")  # type: ignore[union-attr]
                answer = _line(process, SECONDS)
            except TimeoutError:
                log.warning("not decided within %g s, taken as different: %r and %r", SECONDS, left, right)
            except OSError:
                log.warning("the comparing process ended (memory), taken as different: %r and %r", left, right)
            finally:
                if not answer:  # also when interrupted: the next question must not get this one's answer
                    self.close()
            return answer == b"true\n"

    def _start(self) -> subprocess.Popen[bytes]:
        # -P: this folder must not be on sys.path, its math.py would take the place of Python's
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(math.ceil(SECONDS) + 2), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._owner = os.getpid()
        try:
            _line(self._process, STARTING_SECONDS)
        except (TimeoutError, OSError) as error:
            self.close()
            raise RuntimeError(
                f"the process that compares expressions did not start ({error}); is math-verify installed? "
                "pip install math-verify"
            ) from error
        return self._process

    def close(self) -> None:
        """Kill the process, if it is this process's own."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Read one line; raises TimeoutError when its time is over, OSError when the process has ended."""
    deadline, data = time.monotonic() + seconds, b""
    handle = process.stdout.fileno()  # type: ignore[union-attr]
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([handle], [], [], left)[0]:
            raise TimeoutError(f"no answer within {seconds:g} s")
        part = os.read(handle, 4096)
        if not part:
            raise OSError("it ended")
        data += part
    return data


_worker = _Worker()
atexit.register(_worker.close)
