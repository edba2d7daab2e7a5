"""The program that compares expressions, run by `math_expressions.py`: a line of JSON in, `true` or `false` out.

Its arguments are the longest time that a line may take, in seconds, and who started it: it ends when that one does.

Expressions are read whole by the parser under math-verify. Where both have values, values decide: to 30 digits, at
points of either sign for each letter; sympy's `simplify`, which math-verify asks, takes long and knows less.
Equations, inequalities and what has no value go to math-verify.
"""

# ruff: noqa: E402 - what follows takes seconds to load
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
if __name__ == "__main__":
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        sys.exit()

import contextlib
import json
import random
import resource

from latex2sympy2_extended import NormalizationConfig, normalize_latex
from latex2sympy2_extended.latex2sympy2 import latex2sympy
from math_verify import verify
from math_verify.grader import should_treat_as_complex
from sympy import Expr, Rational

MEMORY = 2 << 30
DIGITS = 30
NORMAL = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)


def read(text):
    """Parse the whole text; raises on anything that is not one expression."""
    return latex2sympy(
        normalize_latex(text, NORMAL),
        is_real=not should_treat_as_complex(text),
        convert_degrees=False,
        normalization_config=None,
    )


def same_values(left, right):
    """Whether two expressions have the same value at every point; None where one has no value."""
    letters = sorted(left.free_symbols | right.free_symbols, key=str)
    draw = random.Random(0)
    first = {letter: Rational(draw.choice((-1, 1)) * draw.randint(100, 999), 317) for letter in letters}
    other = {letter: Rational(draw.choice((-1, 1)) * draw.randint(100, 999), 331) for letter in letters}
    for point in (first, {letter: -value for letter, value in first.items()}, other):
        one, two = (complex_value(side.subs(point)) for side in (left, right))
        if one is None or two is None:
            return None
        if abs(one - two) > (min(abs(one), abs(two)) or 1) * Rational(1, 10 ** (DIGITS - 8)):
            return False
        if not letters:
            break
    return True


def complex_value(expression):
    """The value to `DIGITS` digits; None where it has none."""
    value = expression.doit().evalf(DIGITS)
    return value if value.is_number and value.is_finite else None


def same(left, right):
    """Whether two texts are the same expression."""
    first, second = read(left), read(right)
    if isinstance(first, Expr) and isinstance(second, Expr):
        with contextlib.suppress(Exception):  # whatever has no value
            decided = same_values(first, second)
            if decided is not None:
                return decided
    return verify(first, second, float_rounding=12, timeout_seconds=None)  # type: ignore[arg-type]


def main():
    """Answer until the input ends."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        signal.alarm(int(sys.argv[1]))  # ends this process, in C code too, should nobody be there to kill it
        try:
            equal = bool(same(*json.loads(line)))
        except Exception:  # unreadable, or beyond the parser
            equal = False
        signal.alarm(0)
        sys.stdout.write("true\n" if equal else "false\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
