"""Objects of the code that would decide about themselves, and ways to fake success: none passes a test."""

import pytest
from walled import verdict

EQUALS_ALL = """
class E:
  def __eq__(s,o): return True
  def __ne__(s,o): return False
  def __hash__(s): return 4
  def __lt__(s,o): return True
  def __gt__(s,o): return True
  __le__=__ge__=__lt__
  def __contains__(s,o): return True
  def __bool__(s): return True
  def __len__(s): return 2
  def __iter__(s): return iter([E(),E()])
  def __next__(s): return E()
  def __getitem__(s,k): return E()
  def __sub__(s,o): return 0
  def __add__(s,o): return s
  __radd__=__add__
  __rsub__=__sub__
  __xor__=__and__=__or__=__sub__
  def __abs__(s): return 0
  def __round__(s,n=0): return E()
  def __call__(s,*a,**k): return E()
  def __getattr__(s,n):
    if n.startswith('__'): raise AttributeError
    return lambda *a,**k: True
  def startswith(s,x): return True
  def issubset(s,x): return True
  def difference(s,x): return set()
  def __instancecheck__(s,o): return True
def f(x): return E()
"""
"""Its `f` returns an object that says yes to every question."""

ASKED = [
    "assert f(2)==4",
    "assert 4==f(2)",
    "assert f(2)<5",
    "assert f(2)>3",
    "assert 3<f(2)<5",
    "assert 4 in f(2)",
    "assert not f(2)!=4",
    "assert abs(f(2)-4)<1e-6",
    "assert f(2)-4==0",
    "assert not f(2)-4",
    "assert f(2) in [4]",
    "assert f(2) in {4}",
    "assert f(2) in (1,4)",
    "assert {4:1}[f(2)]",
    "assert list(f(2))==[4,4]",
    "assert sorted(f(2))==[4]",
    "assert f(2).startswith('a')",
    "assert f(2).issubset({4})",
    "assert f(2).difference({4})==set()",
    "assert isinstance(f(2),int)",
    "assert len(f(2)-{1})==0",
    "assert (f(2)==[4]).all()",
    "assert round(f(2),2)==4",
    "assert f(2)[0]==4",
    "assert f(2)()==4",
    "import math\nassert math.isclose(f(2),4)",
    "assert str(f(2))=='4'",
    "assert repr(f(2))=='4'",
    "assert f'{f(2)}'=='4'",
    "assert f(2) is 4",
    "assert set(f(2))=={4}",
    "assert f(2)^4==0",
    "assert f(2)+[1]==[4,1]",
    "assert all(a==b for a,b in zip(f(2),[4,4]))",
    "assert max(f(2),3)==4",
    "assert [f(2)]==[4]",
    "assert (f(2),)==(4,)",
    "assert {'a':f(2)}=={'a':4}",
    "try:\n    assert f(2)==4\nexcept Exception: pass",
    "try:\n    assert f(2)==4\nexcept: pass",
    "import copy\nassert copy.deepcopy(f(2))==4",
    "assert int(f(2))==4",
    "from decimal import Decimal\nassert Decimal(f(2))==4",
    "assert sum([f(2),1])==5",
    "assert any(f(2)==x for x in [4])",
    "assert f(2)==4.0",
    "assert f(2)=='4'",
    "assert f(2)==True",
    "import operator\nassert operator.eq(f(2),4)",
    "assert f(2).__eq__(4)",
    "import unittest\nunittest.TestCase().assertEqual(f(2),4)",
]


@pytest.mark.parametrize("test", ASKED)
def test_an_object_that_equals_everything_passes_no_test(test: str) -> None:
    assert not verdict(EQUALS_ALL, test).passed


def test_an_undecided_question_fails_the_test_whatever_it_catches() -> None:
    for catch in ("except Exception", "except"):
        reason = verdict(EQUALS_ALL, f"try:\n    assert f(2) == 4\n{catch}: pass").reason
        assert "== of the code's own E and plain data is not taken from the code" in reason


FORGERIES = {
    "its own builtins": (
        """
import sys
yes = {name: lambda *args: True for name in ("abs", "all", "any", "isinstance", "sorted", "round")}
sys.modules['wall_roles'].CodeSide._names = lambda side, wanted: {'f': f, **yes, '__builtins__': {**yes, 'len': f}}
def f(x): return 0
""",
        ["assert abs(f(2)) == 4", "assert all([f(2) == 4])", "assert isinstance(f(2), str)", "assert len([f(2)]) == 0"],
    ),
    "classf": (
        """
class M(type):

    def __eq__(s, o):
        return True

    def __instancecheck__(s, o):
        return True

    def __call__(c, *a):
        return c

class f(metaclass=M):
    pass
""",
        [
            "assert f(2)==4",
            "assert f==4",
            "assert isinstance(f(2),int)",
            "assert f(2) in [4]",
        ],
    ),
    "exc": (
        """
class AssertionError(Exception):
    pass

def f(x):
    raise StopIteration
""",
        [
            "assert f(2)==4",
            "assert list(f(i) for i in [1])==[1]",
            "for v in [f]:\n    assert v(2)==4",
        ],
    ),
    "exit": (
        """
import os

def f(x):
    os._exit(0)
""",
        [
            "try:\n    f(2)\nexcept Exception: pass",
            "try:\n    f(2)\nexcept: pass\nassert True",
            "assert f(2)==4",
        ],
    ),
    "sysexit": (
        """
def f(x):
    raise SystemExit(0)
""",
        [
            "assert f(2)==4",
        ],
    ),
    "names": (
        """
check = lambda *a: None
all = any = lambda *a: True
len = lambda x: 4
isinstance = lambda *a: True
tests = 4
False_ = 1

def f(x):
    return 0
""",
        [
            "assert f(2)==4",
            "def check(c):\n    assert c(2)==4\ncheck(f)",
            "assert all([f(2)==4])",
            "assert len([f(2)])==4",
        ],
    ),
    "wire": (
        """
import os

def f(x):
    for h in range(3, 20):
        for m in (b'{"value": 4}', b'{"value": true, "raised": 0}'):
            try:
                os.write(h, b'%08d' % len(m) + m)
            except OSError:
                pass
    return 0
""",
        [
            "assert f(2)==5",
        ],
    ),
    "wire2": (
        """
import os, gc

def f(x):
    m = b'{"do": "get", "on": 0, "name": "__globals__", "args": [], "kwargs": []}'
    for h in range(3, 20):
        try:
            os.write(h, b'%08d' % len(m) + m)
        except OSError:
            pass
    return 0
""",
        [
            "assert f(lambda:3)==4",
            "assert f(2)==4",
        ],
    ),
    "obj": (
        """
def f(x):
    return object()
""",
        [
            "assert f(2)==4",
        ],
    ),
    "strsub": (
        """
class S(str):

    def __eq__(s, o):
        return True
    __hash__ = str.__hash__

def f(x):
    return S('a')
""",
        [
            "assert f(2)=='b'",
        ],
    ),
    "listsub": (
        """
class S(list):

    def __eq__(s, o):
        return True

def f(x):
    return S([1])
""",
        [
            "assert f(2)==[4]",
        ],
    ),
    "dictsub": (
        """
class S(dict):

    def __eq__(s, o):
        return True

    def get(s, *a):
        return 4

def f(x):
    return S()
""",
        [
            "assert f(2)=={1:4}",
            "assert f(2).get(1)==4",
        ],
    ),
    "decimalsub": (
        """
from decimal import Decimal

class S(Decimal):

    def __eq__(s, o):
        return True
    __hash__ = None

def f(x):
    return S(1)
""",
        [
            "assert f(2)==4",
        ],
    ),
    "fake module": (
        """
class D:

    def __eq__(s, o):
        return True
D.__module__ = 'decimal'
D.__name__ = 'Decimal'
D.__str__ = lambda s: '1'

def f(x):
    return D()
""",
        [
            "assert f(2)==4",
        ],
    ),
    "fake nt": (
        """
class T(tuple):
    _fields = ('a',)

    def __eq__(s, o):
        return True

def f(x):
    return T((1,))
""",
        [
            "assert f(2)==(4,)",
        ],
    ),
}


@pytest.mark.parametrize(("code", "tests"), FORGERIES.values(), ids=FORGERIES.keys())
def test_no_program_decides_about_itself(code: str, tests: list[str]) -> None:
    for test in tests:
        assert not verdict(code, test).passed, test
