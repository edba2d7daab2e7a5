"""Values of the standard library, exceptions and names of the code, in its tests; and what cannot pass."""

import pytest
from walled import assert_passes, assert_wrong_fails, verdict

from esft_lightning.scoring.sandbox import MISSING_PACKAGE

CROSSING = {
    "stdlib values": (
        """
from decimal import Decimal
from fractions import Fraction
import datetime
from collections import Counter, OrderedDict, deque, defaultdict
def numbers(): return Decimal('1.10'), Fraction(1, 3), 2j, range(3)
def dates(): return datetime.date(2024, 1, 5), datetime.datetime(2024, 1, 5, 3, 4), datetime.timedelta(days=1)
def containers():
    return Counter('aab'), OrderedDict(a=1), deque([1, 2], 3), defaultdict(list, {'a': [1]}), bytearray(b'x')
""",
        """
import datetime
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
assert numbers() == (Decimal('1.10'), Fraction(1, 3), 2j, range(3))
assert dates() == (datetime.date(2024, 1, 5), datetime.datetime(2024, 1, 5, 3, 4), datetime.timedelta(1))
counter, ordered, queue, default, data = containers()
assert counter.most_common(1) == [('a', 2)]
assert ordered == OrderedDict(a=1)
assert queue == deque([1, 2])
assert queue.maxlen == 3
assert default == {'a': [1]}
assert data == bytearray(b'x')
""",
    ),
    "values in": (
        """
from decimal import Decimal

def f(x):
    return type(x).__name__
""",
        """
from decimal import Decimal
import datetime, collections, fractions
assert f(Decimal(1)) == 'Decimal'
assert f(datetime.date(2024, 1, 1)) == 'date'
assert f(collections.deque()) == 'deque'
assert f(collections.Counter()) == 'Counter'
assert f(range(2)) == 'range'
assert f(fractions.Fraction(1, 2)) == 'Fraction'
assert f(...) == 'ellipsis'
""",
    ),
    "views": (
        """
def f(d):
    return d.keys()

def g(d):
    return d.values()

def h(d):
    return d.items()

def m(x):
    return map(str, x)

def z(x):
    return zip(x, x)

def r(x):
    return reversed(x)

def fl(x):
    return filter(None, x)
""",
        """
assert f({'a': 1}) == {'a'}
assert list(f({'a': 1})) == ['a']
assert list(g({'a': 1})) == [1]
assert list(h({'a': 1})) == [('a', 1)]
assert list(m([1])) == ['1']
assert list(z([1])) == [(1, 1)]
assert list(r([1, 2])) == [2, 1]
assert list(fl([0, 1])) == [1]
""",
    ),
    "types": (
        """
def f(x):
    return type(x)

def g():
    return ValueError
""",
        """
assert f(1) is int
assert f('') == str
assert g() is ValueError
""",
    ),
    "namedtuple": (
        """
from collections import namedtuple
P = namedtuple('P', 'x y')

def f():
    return P(1, 2)
""",
        """
assert f() == (1, 2)
assert f().x == 1
assert f()._asdict() == {'x': 1, 'y': 2}
assert P(3, 4).y == 4
""",
    ),
    "typing.NamedTuple": (
        """
from typing import NamedTuple

class P(NamedTuple):
    x: int
    y: int = 2

def f():
    return [P(1)]
""",
        """
assert f()[0].y == 2
assert f() == [(1, 2)]
""",
    ),
    "enum": (
        """
from enum import Enum, IntEnum

class C(Enum):
    RED = 1
    BLUE = 2

class I(IntEnum):
    A = 1

def f():
    return C.RED
""",
        """
assert f() == C.RED
assert f() is C.RED
assert f().name == 'RED'
assert f().value == 1
assert C(2) == C.BLUE
assert [c.name for c in C] == ['RED', 'BLUE']
assert C['RED'] is C.RED
assert f() != C.BLUE
assert I.A == 1
""",
    ),
    "variables": (
        """
PI = 3
NAMES = ['a']
a, b = (1, 2)
if True:

    def late():
        return 4
try:
    import nothere
except ImportError:

    def f():
        return PI
""",
        """
assert PI == 3
assert NAMES == ['a']
assert a == 1
assert b == 2
assert late() == 4
assert f() == 3
""",
    ),
    "module": (
        """
import math

def f(x):
    return math.floor(x)
""",
        """
assert math.isclose(f(2.5), 2)
""",
    ),
    "big int": (
        """
def f(n):
    return 10 ** n
""",
        """
assert f(5000) == 10 ** 5000
""",
    ),
    "partial": (
        """
import functools
add = functools.partial(int, base=2)
""",
        """
assert add('11') == 3
""",
    ),
    "static typing": (
        """
from typing import List

def f(x: List[int]) -> int:
    return len(x)
""",
        """
assert f([1]) == 1
""",
    ),
    "regex": (
        r"""
import re

def f(s):
    return re.match('(\\w)(\\d)', s)
""",
        """
assert f('a1').group(2) == '1'
assert f('!!') is None
assert f('a1')
""",
    ),
    "own exception": (
        """
class E(Exception):
    pass

class F(E):

    def __init__(self, code):
        super().__init__('bad')
        self.code = code

    def __str__(self):
        return f'code {self.code}'

def f(x=1):
    raise F(7) if x else E('x')
""",
        """
try:
    f()
    assert False
except E as e:
    assert e.code == 7
    assert str(e) == 'code 7'
try:
    f(0)
except F:
    assert False
except E as e:
    assert e.args == ('x',)
    assert type(e).__name__ == 'E'
assert issubclass(F, E)
assert issubclass(E, Exception)
""",
    ),
    "own valueerror": (
        """
class E(ValueError):
    pass

def f():
    raise E('no')
""",
        """
try:
    f()
    assert False
except ValueError as e:
    assert str(e) == 'no'
else:
    assert False
""",
    ),
}
"""What a right program and its tests may give each other → the code and its test."""


@pytest.mark.parametrize(("code", "test"), CROSSING.values(), ids=CROSSING.keys())
def test_values_that_are_no_plain_data_cross(code: str, test: str) -> None:
    assert_passes(code, test)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("stdlib values", "Decimal('1.10')", "Decimal('1.11')"),
        ("own exception", "F(7)", "F(8)"),
        ("views", "d.keys()", "d.values()"),
        ("enum", "return C.RED", "return C.BLUE"),
    ],
)
def test_a_wrong_program_fails_where_its_values_cross(name: str, right: str, wrong: str) -> None:
    assert_wrong_fails(CROSSING, name, right, wrong)


def test_a_package_that_is_not_there_is_the_reason() -> None:
    missing = "needs the package numpy, which the sandbox does not have"
    assert missing in verdict("import numpy as np\ndef f(x): return x", "f(1)").reason
    assert missing in verdict("def f(x):\n    import numpy.linalg\n    return x", "f(1)").reason
    assert missing in verdict("def f(x): return 2 * x", "import numpy\nassert f(2) == 4").reason
    assert MISSING_PACKAGE.findall(verdict("from numpy import array", "f(1)").reason) == ["numpy"]


def test_what_cannot_pass_is_said() -> None:
    assert "cannot pass from the tests to the code" in verdict("def f(x): return x", "import sys\nf(sys)").reason
    assert "holds itself" in verdict("def f(x):\n    x = []\n    x.append(x)\n    return x", "f(1)").reason
    assert "longer than 1 MiB" in verdict("def f(x): return 'x' * (1 << 22)", "f(1)").reason
    assert "cannot be copied" in verdict("class f: pass", "import copy\ncopy.deepcopy(f())").reason
    assert "stayed with the code: E" in verdict("class E: pass\ndef f(x): return E()", "assert f(2) is 4").reason


OWN = {
    "L": ("class L(list):\n    def top(self): return self[-1]\ndef f(): return L([1, 2])", "f().top() == 2"),
    "D": ("class D(dict):\n    def __missing__(self, key): return 0\ndef f(): return D(a=1)", "f()['z'] == 0"),
    "Text": ("class Text(str):\n    def last(self): return self[-1]\ndef f(): return Text('ab')", "f().last() == 'b'"),
    "Level": (
        "from enum import IntEnum\nclass Level(IntEnum): LOW = 1\ndef f(): return Level.LOW",
        "f().name == 'LOW'",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_a_class_on_top_of_plain_data_passes_as_such_and_a_failure_says_so(name):
    code, asked = OWN[name]
    failed = verdict(code, f"assert {asked}")
    assert not failed.passed and f"passed as plain data, without methods of its own: {name})" in failed.reason
    assert verdict(code, "assert f() == f()").passed


def test_the_tests_keep_their_own_classes_in_what_the_code_changes():
    test = """
from enum import IntEnum
class Level(IntEnum):
    LOW = 1
levels = [Level.LOW, Level.LOW]
assert f(levels) is None
assert levels == [1, 1, 9]
assert levels[0].name == 'LOW'
"""
    assert verdict("def f(x):\n    x.append(9)", test).passed
    assert verdict("def f(x):\n    return None", test.replace(", 9]", "]")).passed


def test_a_default_dict_keeps_its_factory():
    code = "from collections import defaultdict\ndef f(kind):\n    return defaultdict(kind, a=kind())"
    assert verdict(code, "x = f(list)\nx['b'].append(1)\nassert x == {'a': [], 'b': [1]}").passed
    test = "from collections import defaultdict\nx = defaultdict(int)\nf(x)\nassert x == {'k': 1} and x['z'] == 0"
    assert verdict("def f(x):\n    x['k'] += 1", test).passed
    own = "from collections import defaultdict\ndef f(): return defaultdict(lambda: 7, a=1)"
    assert verdict(own, "assert f() == {'a': 1}").passed
    assert (
        "passed as plain data, without methods of its own: defaultdict" in verdict(own, "assert f()['b'] == 7").reason
    )


def test_a_value_nested_too_deeply_says_what_it_is():
    code = "def f():\n    x = []\n    for _ in range(900):\n        x = [x]\n    return x"
    assert "holds itself, or is nested too deeply" in verdict(code, "assert f()").reason
